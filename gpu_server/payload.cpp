#include "gpu_server/payload.h"

#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"

namespace farcall::server {
namespace {

constexpr std::size_t kTrustBytes = std::size_t{64} << 20;

Status fill(BulkIn& bulk, std::span<std::byte> room, ModuleCache::Writer* writer) {
  while (!room.empty()) {
    std::size_t bytes = std::min(room.size(), limits::kCopyChunkBytes);
    FARCALL_TRY(bulk.read(room.first(bytes)));
    if (writer != nullptr) writer->add(room.first(bytes));
    room = room.subspan(bytes);
  }
  return ok();
}

}  // namespace

Result<SecureBuffer> receive_payload(BulkIn& bulk, std::size_t zeros, ModuleCache::Writer* writer) {
  const std::uint64_t announced = bulk.left();
  if (announced == 0) return Status(Code::kMalformed, "a payload of no bytes");
  if (announced > limits::kModuleBytesMax) {
    return Status(Code::kOverQuota, "the payload is longer than any module may be");
  }
  const auto total = static_cast<std::size_t>(announced);
  const std::size_t first_bytes = std::min(total, kTrustBytes);
  const bool is_whole = first_bytes == total;
  Result<SecureBuffer> first = SecureBuffer::make(first_bytes + (is_whole ? zeros : 0));
  if (!first.ok()) return first.status();
  FARCALL_TRY(fill(bulk, first.value().bytes().first(first_bytes), writer));
  if (is_whole) {
    std::memset(first.value().data() + total, 0, zeros);
    return first;
  }
  Result<SecureBuffer> whole = SecureBuffer::make(total + zeros);
  if (!whole.ok()) return whole.status();
  std::memcpy(whole.value().data(), first.value().data(), first_bytes);
  first = SecureBuffer();
  auto rest = whole.value().bytes().subspan(first_bytes, total - first_bytes);
  FARCALL_TRY(fill(bulk, rest, writer));
  std::memset(whole.value().data() + total, 0, zeros);
  return whole;
}

}  // namespace farcall::server
