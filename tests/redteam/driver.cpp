// A CUDA driver that is hostile: each allocation of N bytes is move number N - 1 instead, and the
// address that it returns says how that went.
//
// The worker loads it as it loads NVIDIA's, so the moves are made where a client's code would be if
// it had taken the worker over: behind everything the worker gives up once its driver is loaded.
#include <cstdlib>
#include <cstring>

#include "tests/redteam/moves.h"
#include "transport/cuda/cuda_abi.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

__attribute__((constructor)) void loaded() { farcall::redteam::look_around(); }

}  // namespace

// For who lists the moves.
EXPORTED const char* redteam_move_name(int move) {
  const auto all = farcall::redteam::moves();
  return static_cast<std::size_t>(move) < all.size() ? all[static_cast<std::size_t>(move)].name
                                                     : nullptr;
}

// For who wants to know what the move comes to in a process of no server: 0 or errno.
EXPORTED int redteam_move_make(int move) {
  return farcall::redteam::moves()[static_cast<std::size_t>(move)].make();
}

EXPORTED CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
EXPORTED CUresult cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDeviceGet(CUdevice* device, int) {
  *device = 0;
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDeviceGetName(char* name, int bytes, CUdevice) {
  std::strncpy(name, "red team", static_cast<std::size_t>(bytes) - 1);
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice) {
  *bytes = std::size_t{64} << 20;
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice) {
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(0x1000);
  return CUDA_SUCCESS;
}
EXPORTED CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
EXPORTED CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
EXPORTED CUresult cuMemFree_v2(CUdeviceptr) { return CUDA_SUCCESS; }
EXPORTED CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
  const auto all = farcall::redteam::moves();
  if (bytes == 0 || bytes > all.size()) return CUDA_ERROR_INVALID_VALUE;
  const int error = all[bytes - 1].make();
  *address = (CUdeviceptr{1} << 32) + static_cast<CUdeviceptr>(error) * 256;
  return CUDA_SUCCESS;
}
