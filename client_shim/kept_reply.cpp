#include "client_shim/kept_reply.h"

#include <cstring>

namespace farcall::shim {

CUresult KeptReply::keep(Reply& reply) {
  if (reply.bulk) return take_(reply);
  auto room = SecureBuffer::make(reply.body.size());
  if (!room.ok()) return take_(reply);
  body_ = std::move(room).value();
  std::memcpy(body_.data(), reply.body.data(), reply.body.size());
  session_ = &reply.session;
  static_cast<void>(reply.in.rest());
  return reply.status;
}

CUresult KeptReply::taken(CUresult result) {
  if (session_ == nullptr) return result;
  wire::Reader in(body_.bytes());
  const auto status = static_cast<CUresult>(in.get<std::uint32_t>());
  Reply reply{status, in, body_.bytes(), false, *session_};
  result = take_(reply);
  if (!in.failed() && (status != CUDA_SUCCESS || in.done())) return result;
  session_->close(Status(Code::kMalformed, "a reply of wrong length"));
  return kLinkLost;
}

}  // namespace farcall::shim
