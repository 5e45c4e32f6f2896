#include "gpu_server/desk.h"

#include <memory>

#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace farcall::server {

Desk* Desk::of_this_thread() {
  thread_local std::unique_ptr<Desk> t_desk;
  if (t_desk != nullptr) return t_desk.get();
  auto reply = SecureBuffer::make(limits::kFrameBodyBytesMax);
  auto arguments = SecureBuffer::make(limits::kScratchBytes);
  auto staging = SecureBuffer::make(limits::kCopyChunkBytes);
  if (!reply.ok() || !arguments.ok() || !staging.ok()) {
    FARCALL_LOG_ERROR("no memory for the buffers of a call");
    return nullptr;
  }
  t_desk = std::make_unique<Desk>(
      Desk{std::move(reply).value(), std::move(arguments).value(), std::move(staging).value()});
  return t_desk.get();
}

}  // namespace farcall::server
