#include "gpu_server/software_gpu/jit_logs.h"

#include <algorithm>
#include <cstring>

namespace farcall::softgpu {
namespace {

// Far more than there are options, each of which counts once: a larger number is a mistake, and
// reading on would leave the caller's arrays.
constexpr unsigned kOptionsMax = 256;

}  // namespace

void JitLogs::Log::write(std::string_view text) const {
  const std::size_t used = bytes == 0 ? 0 : std::min(bytes - 1, text.size());
  if (at != nullptr && bytes != 0) {
    std::memcpy(at, text.data(), used);
    at[used] = 0;
  }
  if (size != nullptr) *size = reinterpret_cast<void*>(used);
}

CUresult JitLogs::read(unsigned count, const CUjit_option* options, void** values) {
  if (count != 0 && (options == nullptr || values == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  if (count > kOptionsMax) return CUDA_ERROR_INVALID_VALUE;
  const auto size_of = [](Log& log, void*& value) {
    log.bytes = reinterpret_cast<std::size_t>(value);
    log.size = &value;
  };
  for (unsigned i = 0; i < count; ++i) {
    void*& value = values[i];
    if (options[i] < 0 || options[i] >= CU_JIT_NUM_OPTIONS) return CUDA_ERROR_INVALID_VALUE;
    switch (options[i]) {
      case CU_JIT_INFO_LOG_BUFFER: info.at = static_cast<char*>(value); break;
      case CU_JIT_ERROR_LOG_BUFFER: error.at = static_cast<char*>(value); break;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES: size_of(info, value); break;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: size_of(error, value); break;
      default: break;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
