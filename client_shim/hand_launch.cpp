// The exported launches.
#include "client_shim/behind.h"
#include "client_shim/entry.h"
#include "client_shim/launch.h"

using farcall::api::hand::LaunchKind;
using farcall::shim::Client;
using farcall::shim::LaunchRequest;
using farcall::shim::with_client;

namespace {

CUresult launch(const LaunchRequest& request) {
  return with_client([&](Client& client) { return farcall::shim::launch(client, request); });
}

CUresult launch_ex(const CUlaunchConfig* config, CUfunction function, void** params, void** extra,
                   bool is_per_thread) {
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LaunchRequest request{*config, function, params, extra, LaunchKind::kEx};
  if (is_per_thread && config->hStream == nullptr) request.config.hStream = CU_STREAM_PER_THREAD;
  return launch(request);
}

}  // namespace

FARCALL_EXPORT cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                              unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                              unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                              void** kernelParams, void** extra) {
  return launch({{gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes,
                  hStream, nullptr, 0},
                 f,
                 kernelParams,
                 extra,
                 LaunchKind::kPlain});
}

FARCALL_EXPORT cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                         unsigned int gridDimZ, unsigned int blockDimX,
                                         unsigned int blockDimY, unsigned int blockDimZ,
                                         unsigned int sharedMemBytes, CUstream hStream,
                                         void** kernelParams) {
  return launch({{gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes,
                  hStream, nullptr, 0},
                 f,
                 kernelParams,
                 nullptr,
                 LaunchKind::kCooperative});
}

FARCALL_EXPORT cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction f, void** kernelParams,
                                void** extra) {
  return launch_ex(config, f, kernelParams, extra, false);
}

FARCALL_EXPORT cuLaunchKernelEx_ptsz(const CUlaunchConfig* config, CUfunction f,
                                     void** kernelParams, void** extra) {
  return launch_ex(config, f, kernelParams, extra, true);
}
