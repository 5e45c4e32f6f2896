#include "transport/api/reply_cache.h"

#include "transport/base/switches.h"

namespace farcall::api {
ReplyCache::Key::Key(const RowInfo& row, Encode encode) {
  wire::Writer out(bytes_);
  out.put(row.id);
  encode(out);
  if (out.ok()) used_ = out.size();
}

std::optional<CUresult> ReplyCache::find(const Key& key, Take take) {
  if (!key.fits() || !is_on(Switch::kReplyCache)) return std::nullopt;
  std::string reply;
  {
    auto held = replies_.lock();
    auto found = held->find(std::string(key.view()));
    if (found == held->end()) return std::nullopt;
    reply = found->second;
  }
  CUresult status = CUDA_SUCCESS;
  if (!read_reply(std::as_bytes(std::span(reply)), take, &status)) return std::nullopt;
  return status;
}

void ReplyCache::keep(const Key& key, std::span<const std::byte> reply_body) {
  if (!key.fits() || reply_body.size() > limits::kCachedBytesMax) return;
  wire::Reader in(reply_body);
  if (in.get<std::uint32_t>() != CUDA_SUCCESS || in.failed()) return;
  auto held = replies_.lock();
  if (held->size() >= limits::kCachedRepliesMax) return;
  held->insert_or_assign(
      std::string(key.view()),
      std::string(reinterpret_cast<const char*>(reply_body.data()), reply_body.size()));
}

bool read_reply(std::span<const std::byte> body, Take take, CUresult* status) {
  wire::Reader in(body);
  *status = static_cast<CUresult>(in.get<std::uint32_t>());
  bool good = !in.failed() && (*status == CUDA_SUCCESS ? take(in) : in.done());
  if (!good) *status = CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
  return good;
}

}  // namespace farcall::api
