#include <thread>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {

TEST_CASE("without a current context a call answers invalid context") {
  start_driver();
  CHECK(cuCtxSetCurrent(nullptr) == CUDA_SUCCESS);
  CUdeviceptr address = 0;
  CHECK(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_CONTEXT);
  CUcontext context = reinterpret_cast<CUcontext>(1);
  CHECK(cuCtxGetCurrent(&context) == CUDA_SUCCESS);
  CHECK(context == nullptr);
  CHECK(cuCtxSetCurrent(reinterpret_cast<CUcontext>(0x1234)) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("contexts stack, per thread") {
  DriverSession session;
  CUcontext made = nullptr, current = nullptr;
  CHECK(cuCtxCreate_v2(&made, 0, 1) == CUDA_SUCCESS);
  CHECK(cuCtxGetCurrent(&current) == CUDA_SUCCESS);
  CHECK(current == made);
  CUdevice device = -1;
  CHECK(cuCtxGetDevice(&device) == CUDA_SUCCESS);
  CHECK(device == 1);
  std::thread([] {
    CUcontext other = reinterpret_cast<CUcontext>(1);
    CHECK(cuCtxGetCurrent(&other) == CUDA_SUCCESS);
    CHECK(other == nullptr);
  }).join();
  CUcontext popped = nullptr;
  CHECK(cuCtxPopCurrent_v2(&popped) == CUDA_SUCCESS);
  CHECK(popped == made);
  CHECK(cuCtxGetCurrent(&current) == CUDA_SUCCESS);
  CHECK(current == session.context());
  CHECK(cuCtxDestroy_v2(made) == CUDA_SUCCESS);
  CHECK(cuCtxDestroy_v2(made) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxPushCurrent_v2(made) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("a thread that still has a destroyed context is told so") {
  DriverSession session;
  CUcontext made = nullptr;
  CHECK(cuCtxCreate_v2(&made, 0, 0) == CUDA_SUCCESS);
  std::thread([made] { CHECK(cuCtxDestroy_v2(made) == CUDA_SUCCESS); }).join();
  CUdeviceptr address = 0;
  CHECK(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK(cuCtxPopCurrent_v2(nullptr) == CUDA_SUCCESS);
}

TEST_CASE("a primary context may be current before it is retained, and lives while retained") {
  start_driver();
  CUcontext context = nullptr;
  unsigned flags = 1;
  int active = 1;
  CHECK(cuDevicePrimaryCtxRetain(&context, 1) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(1) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(1) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuDevicePrimaryCtxGetState(1, &flags, &active) == CUDA_SUCCESS);
  CHECK(active == 0);
  CHECK(cuCtxSetCurrent(context) == CUDA_SUCCESS);
  CUdeviceptr address = 0;
  CHECK(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CUcontext again = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&again, 1) == CUDA_SUCCESS);
  CHECK(again == context);
  CHECK(cuMemAlloc_v2(&address, 16) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(1) == CUDA_SUCCESS);
  CHECK(cuCtxSetCurrent(nullptr) == CUDA_SUCCESS);
}

TEST_CASE("resetting a context gives back its memory and ends its handles") {
  DriverSession session;
  const std::size_t before = session.free_bytes();
  session.allocate(1 << 20);
  CUmodule module = session.load(kAddPtx);
  CUstream stream = nullptr;
  CUevent event = nullptr;
  CHECK(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  CHECK(cuEventCreate(&event, 0) == CUDA_SUCCESS);
  CHECK(session.free_bytes() < before);
  CHECK(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(session.free_bytes() == before);
  CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuEventQuery(event) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuModuleUnload(module) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
}

TEST_CASE("limits and settings read back as they were set") {
  DriverSession session;
  CHECK(cuCtxSetLimit(CU_LIMIT_PRINTF_FIFO_SIZE, 4096) == CUDA_SUCCESS);
  std::size_t value = 0;
  CHECK(cuCtxGetLimit(&value, CU_LIMIT_PRINTF_FIFO_SIZE) == CUDA_SUCCESS);
  CHECK(value == 4096);
  CHECK(cuCtxGetLimit(&value, CU_LIMIT_MAX) == CUDA_ERROR_INVALID_VALUE);
  int least = 1, greatest = 1;
  CHECK(cuCtxGetStreamPriorityRange(&least, &greatest) == CUDA_SUCCESS);
  CHECK(greatest < least);
  unsigned version = 0;
  CHECK(cuCtxGetApiVersion(session.context(), &version) == CUDA_SUCCESS);
  CHECK(version >= 3010);
}

}  // namespace farcall::softgpu::tests
