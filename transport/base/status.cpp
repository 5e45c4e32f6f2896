#include "transport/base/status.h"

namespace farcall {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk: return "ok";
    case Code::kClosed: return "closed";
    case Code::kTimeout: return "timed out";
    case Code::kMalformed: return "malformed";
    case Code::kDenied: return "denied";
    case Code::kOverQuota: return "over quota";
    case Code::kNotFound: return "not found";
    case Code::kUnsupported: return "unsupported";
    case Code::kBusy: return "busy";
    case Code::kSystem: return "system error";
    case Code::kDriver: return "driver error";
  }
  return "unknown";
}

Status Status::system(std::string_view doing, int error) {
  std::string text(doing);
  text += ": ";
  text += std::strerror(error);
  return {Code::kSystem, std::move(text), error};
}

Status Status::driver(std::string_view doing, int curesult) {
  std::string text(doing);
  text += ": CUresult ";
  text += std::to_string(curesult);
  return {Code::kDriver, std::move(text), curesult};
}

std::string Status::to_string() const {
  std::string all(code_name(code_));
  if (!text_.empty()) {
    all += ": ";
    all += text_;
  }
  return all;
}

}  // namespace farcall
