// A libcuda.so.1 with hardly anything in it, for tests of the server's processes: one device,
// memory that is the heap, a synchronize that never returns and a call that takes the process down.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "transport/cuda/cuda_abi.h"

#define EXPORTED extern "C" __attribute__((visibility("default"))) CUresult

EXPORTED cuInit(unsigned) { return CUDA_SUCCESS; }
EXPORTED cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
EXPORTED cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
EXPORTED cuDeviceGetName(char* name, int bytes, CUdevice) {
  std::strncpy(name, "Farcall test device", static_cast<std::size_t>(bytes) - 1);
  return CUDA_SUCCESS;
}
EXPORTED cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice) {
  *bytes = std::size_t{64} << 20;
  return CUDA_SUCCESS;
}
EXPORTED cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice) {
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;
  return CUDA_SUCCESS;
}
EXPORTED cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(0x1000);
  return CUDA_SUCCESS;
}
EXPORTED cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
EXPORTED cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
EXPORTED cuStreamQuery(CUstream) { return CUDA_SUCCESS; }
EXPORTED cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
  *address = reinterpret_cast<CUdeviceptr>(std::malloc(bytes));
  return *address != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
EXPORTED cuMemFree_v2(CUdeviceptr address) {
  std::free(reinterpret_cast<void*>(address));
  return CUDA_SUCCESS;
}
EXPORTED cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return CUDA_SUCCESS;
}
EXPORTED cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return CUDA_SUCCESS;
}
EXPORTED cuCtxSynchronize() {
  for (;;) ::pause();
}
EXPORTED cuCtxResetPersistingL2Cache() { std::abort(); }
