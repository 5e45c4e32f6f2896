#include "gpu_server/jit_options.h"

#include <algorithm>

#include "transport/api/hand.h"
#include "transport/api/jit_options.h"

namespace farcall::server {

void JitOptions::add(CUjit_option name, std::uint64_t value) {
  if (name == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES) {
    add_log(CU_JIT_INFO_LOG_BUFFER, name, info_, value);
  } else if (name == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) {
    add_log(CU_JIT_ERROR_LOG_BUFFER, name, error_, value);
  } else if (api::is_plain_jit_option(name)) {
    push(name, reinterpret_cast<void*>(static_cast<std::uintptr_t>(value)));
  } else {
    refused_ = true;
  }
}

void JitOptions::push(CUjit_option name, void* value) {
  names_.push_back(name);
  values_.push_back(value);
}

void JitOptions::add_log(CUjit_option buffer, CUjit_option size, std::vector<char>& log,
                         std::uint64_t bytes) {
  if (!log.empty() || bytes == 0) return;
  log.resize(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, api::hand::kLoadLogBytesMax)));
  push(buffer, log.data());
  push(size, reinterpret_cast<void*>(log.size()));
}

// Text up to its NUL: what a driver reports as the size differs from version to version.
std::size_t JitOptions::used(const std::vector<char>& log) {
  return static_cast<std::size_t>(std::find(log.begin(), log.end(), '\0') - log.begin());
}

void JitOptions::finish() {
  info_used_ = used(info_);
  error_used_ = used(error_);
}

}  // namespace farcall::server
