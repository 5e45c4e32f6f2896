#include "transport/cuda/coredump_settings.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace farcall::cuda {
namespace {

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

bool is_text(CUcoredumpSettings which) {
  return which == CU_COREDUMP_FILE || which == CU_COREDUMP_PIPE;
}

// How many bytes a value takes; 0: no such attribute.
std::size_t bytes_of_attribute(CUcoredumpSettings which) {
  switch (which) {
    case CU_COREDUMP_ENABLE_ON_EXCEPTION:
    case CU_COREDUMP_TRIGGER_HOST:
    case CU_COREDUMP_LIGHTWEIGHT:
    case CU_COREDUMP_ENABLE_USER_TRIGGER: return sizeof(bool);
    case CU_COREDUMP_FILE:
    case CU_COREDUMP_PIPE: return limits::kCoredumpTextBytes;
    case CU_COREDUMP_GENERATION_FLAGS: return sizeof(unsigned);
    default: return 0;
  }
}

// "core.cuda.HOSTNAME.PID"
std::string default_name(const char* head) {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return std::string(head) + host + "." + std::to_string(::getpid());
}

}  // namespace

CoredumpSettings::CoredumpSettings(GetEnv environment) : environment_(environment) {
  take_flag("CUDA_ENABLE_COREDUMP_ON_EXCEPTION", CU_COREDUMP_ENABLE_ON_EXCEPTION);
  take_flag("CUDA_ENABLE_LIGHTWEIGHT_COREDUMP", CU_COREDUMP_LIGHTWEIGHT);
  take_flag("CUDA_ENABLE_USER_TRIGGERED_COREDUMP", CU_COREDUMP_ENABLE_USER_TRIGGER);
  take_flag("CUDA_ENABLE_CPU_COREDUMP_ON_EXCEPTION", CU_COREDUMP_TRIGGER_HOST);
  take_text("CUDA_COREDUMP_FILE", CU_COREDUMP_FILE, "core.cuda.");
  take_text("CUDA_COREDUMP_PIPE", CU_COREDUMP_PIPE, "corepipe.cuda.");
  take_number("CUDA_COREDUMP_GENERATION_FLAGS", CU_COREDUMP_GENERATION_FLAGS);
}

void CoredumpSettings::take_flag(const char* name, CUcoredumpSettings which) {
  const char* wish = environment_(name);
  const bool by_default = which == CU_COREDUMP_TRIGGER_HOST;
  const bool value = wish != nullptr ? std::strcmp(wish, "1") == 0 : by_default;
  state_.lock()->all[which] = {bytes_of(value), wish != nullptr};
}

void CoredumpSettings::take_text(const char* name, CUcoredumpSettings which, const char* fallback) {
  const char* wish = environment_(name);
  std::string text = wish != nullptr ? wish : default_name(fallback);
  text.resize(std::min(text.size(), limits::kCoredumpTextBytes - 1));
  state_.lock()->all[which] = {std::string(text.c_str(), text.size() + 1), wish != nullptr};
}

void CoredumpSettings::take_number(const char* name, CUcoredumpSettings which) {
  const char* wish = environment_(name);
  const auto value = static_cast<unsigned>(wish != nullptr ? std::strtoul(wish, nullptr, 0) : 0);
  state_.lock()->all[which] = {bytes_of(value), wish != nullptr};
}

CUresult CoredumpSettings::get(CUcontext context, CUcoredumpSettings which, void* value,
                               std::size_t* size) {
  const std::size_t room = bytes_of_attribute(which);
  if (size == nullptr || room == 0) return CUDA_ERROR_INVALID_VALUE;
  if (value == nullptr) {
    *size = room;
    return CUDA_SUCCESS;
  }
  auto state = state_.lock();
  const Value* found = &state->all[which];
  if (auto own = state->own.find(context); context != nullptr && own != state->own.end()) {
    auto at = own->second.find(which);
    if (at != own->second.end() && !found->is_fixed) found = &at->second;
  }
  if (*size < found->bytes.size()) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(value, found->bytes.data(), found->bytes.size());
  return CUDA_SUCCESS;
}

CUresult CoredumpSettings::set(CUcontext context, CUcoredumpSettings which, void* value,
                               std::size_t* size) {
  const std::size_t room = bytes_of_attribute(which);
  if (size == nullptr || room == 0) return CUDA_ERROR_INVALID_VALUE;
  const bool is_shared = which == CU_COREDUMP_ENABLE_USER_TRIGGER || which == CU_COREDUMP_PIPE;
  if (context != nullptr && is_shared) return CUDA_ERROR_NOT_PERMITTED;
  if (value == nullptr) {
    *size = room;
    return CUDA_SUCCESS;
  }
  const auto* from = static_cast<const char*>(value);
  std::size_t bytes = room;
  if (is_text(which)) {
    const std::size_t most = std::min(*size, room);
    const std::size_t length = ::strnlen(from, most);
    if (length == room) return CUDA_ERROR_INVALID_VALUE;
    bytes = length;
  } else if (*size < room) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::string text(from, bytes);
  if (is_text(which)) text.push_back('\0');
  auto state = state_.lock();
  if (which == CU_COREDUMP_PIPE &&
      state->all[CU_COREDUMP_ENABLE_USER_TRIGGER].bytes == bytes_of(true)) {
    return CUDA_ERROR_NOT_PERMITTED;
  }
  if (state->all[which].is_fixed) return CUDA_SUCCESS;  // the environment's word stands
  if (context == nullptr) {
    state->all[which].bytes = std::move(text);
    return CUDA_SUCCESS;
  }
  if (!state->own.contains(context) && state->own.size() >= limits::kSettledContextsMax) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  state->own[context][which].bytes = std::move(text);
  return CUDA_SUCCESS;
}

CoredumpSettings& coredump_settings() {
  static CoredumpSettings* const leaked = new CoredumpSettings(&::secure_getenv);
  return *leaked;
}

}  // namespace farcall::cuda
