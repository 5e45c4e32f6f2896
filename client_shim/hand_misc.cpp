// Functions that concern nothing but this process.
#include <cstdlib>
#include <cstring>

#include "client_shim/entry.h"
#include "client_shim/profiler.h"
#include "transport/cuda/error_text.h"

using farcall::shim::answer;
using farcall::shim::Client;

FARCALL_EXPORT cuGetErrorName(CUresult error, const char** text) {
  if (text == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *text = farcall::cuda::error_name(error);
  return *text == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

FARCALL_EXPORT cuGetErrorString(CUresult error, const char** text) {
  if (text == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *text = farcall::cuda::error_text(error);
  return *text == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

FARCALL_EXPORT cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  return answer("cuModuleGetLoadingMode", [&](Client&) {
    if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const char* wish = ::secure_getenv("CUDA_MODULE_LOADING");
    bool eager = wish != nullptr && std::strcmp(wish, "EAGER") == 0;
    *mode = eager ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
    return CUDA_SUCCESS;
  });
}

// A profiler attaches to the process that talks to the GPU, which is the server's: here there is
// nothing to start, and starting nothing has always succeeded.
FARCALL_EXPORT cuProfilerInitialize(const char*, const char*, CUoutput_mode) {
  return answer("cuProfilerInitialize", [](Client&) { return CUDA_SUCCESS; });
}
FARCALL_EXPORT cuProfilerStart(void) {
  return answer("cuProfilerStart", [](Client& client) { return client.require_context(); });
}
FARCALL_EXPORT cuProfilerStop(void) {
  return answer("cuProfilerStop", [](Client& client) { return client.require_context(); });
}
