// Before cuInit, cuInit itself, its threads, a fork, and calls while the process ends.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

namespace {
// cuda.h, cuInit: "If cuInit() has not been called, any function from the driver API will return
// CUDA_ERROR_NOT_INITIALIZED."
const char* const kInit = "cuda.h, cuInit";
}  // namespace

BODY(init_calls_before) {
  int number = 0;
  size_t bytes = 0;
  CUdevice device = 0;
  CUcontext context = nullptr;
  CUdeviceptr p = 0;
  CUstream stream = nullptr;
  CUevent event = nullptr;
  CUmodule module = nullptr;
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuDeviceGetCount, &number);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuDeviceGet, &device, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuDeviceGetAttribute, &number,
         CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuDeviceTotalMem_v2, &bytes, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuDevicePrimaryCtxRetain, &context, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuCtxCreate_v2, &context, 0, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuCtxGetCurrent, &context);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuCtxSetCurrent, nullptr);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuCtxPopCurrent_v2, &context);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuCtxSynchronize);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuMemAlloc_v2, &p, 16);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuMemFree_v2, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuMemcpyHtoD_v2, 0, &number, 4);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuMemGetInfo_v2, &bytes, &bytes);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuStreamCreate, &stream, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuEventCreate, &event, 0);
  EXPECT(CUDA_ERROR_NOT_INITIALIZED, kInit, cuModuleLoadData, &module, kPtx);
  CALL(cuMemAlloc_v2, nullptr, 16);
}

BODY(init_answers_before) {
  int version = 0;
  const char* text = nullptr;
  // cuda.h, cuDriverGetVersion: its return values are SUCCESS and INVALID_VALUE only.
  EXPECT(CUDA_SUCCESS, "cuda.h, cuDriverGetVersion", cuDriverGetVersion, &version);
  FACT("version", version);
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuDriverGetVersion", cuDriverGetVersion, nullptr);
  CALL(cuGetErrorName, CUDA_ERROR_INVALID_VALUE, &text);
  VALUE("name", text == nullptr ? "null" : text);
  void* entry = nullptr;
  CUdriverProcAddressQueryResult found{};
  CALL(cuGetProcAddress_v2, "cuInit", &entry, 12000, 0, &found);
  VALUE("entry", entry != nullptr);
  int count = -1;
  CALL(cuDeviceGetCount, &count);
  VALUE("count untouched", count == -1);
}

BODY(init_flags) {
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuInit: Flags must be 0", cuInit, 1);
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuInit: Flags must be 0", cuInit, ~0U);
  int count = 0;
  CALL(cuDeviceGetCount, &count);
  CALL(cuInit, 0);
  CALL(cuInit, 0);
  CALL(cuInit, 2);
  CALL(cuDeviceGetCount, &count);
  FACT("devices", count);
  VALUE("at least one device", count >= 1);
}

BODY(init_threads) {
  std::vector<std::thread> threads;
  std::vector<CUresult> codes(8, CUDA_ERROR_UNKNOWN);
  for (CUresult& code : codes) threads.emplace_back([&code] { code = CU(cuInit)(0); });
  for (std::thread& thread : threads) thread.join();
  for (CUresult code : codes) VALUE("cuInit of a thread", name_of(code));
}

BODY(init_fork) {
  Primary primary;
  const pid_t child = fork();
  if (child == 0) {
    int count = 0;
    CUcontext context = nullptr;
    about("the child");
    CALL(cuDeviceGetCount, &count);
    CALL(cuCtxGetCurrent, &context);
    CALL(cuCtxSynchronize);
    CUdeviceptr p = 0;
    CALL(cuMemAlloc_v2, &p, 16);
    CALL(cuInit, 0);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  VALUE("the child ended well", WIFEXITED(status) && WEXITSTATUS(status) == 0);
  about("the parent");
  CALL(cuCtxSynchronize);
  const CUdeviceptr p = allocate(64);
  CALL(cuMemFree_v2, p);
}

BODY(init_fork_before) {
  const pid_t child = fork();
  if (child == 0) {
    about("the child");
    CALL(cuInit, 0);
    CUcontext context = nullptr;
    CALL(cuDevicePrimaryCtxRetain, &context, 0);
    std::exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  VALUE("the child ended well", WIFEXITED(status) && WEXITSTATUS(status) == 0);
  about("the parent");
  CALL(cuInit, 0);
}

namespace {
CUdeviceptr g_block = 0;
CUstream g_stream = nullptr;
}  // namespace

// A handler registered after cuInit runs before what the driver registered in it.
BODY(init_calls_at_exit) {
  Primary primary;
  g_block = allocate(256);
  g_stream = new_stream();
  std::atexit([] {
    about("at exit");
    CALL(cuMemsetD8_v2, g_block, 1, 256);
    CALL(cuStreamSynchronize, g_stream);
    CALL(cuStreamDestroy_v2, g_stream);
    CALL(cuMemFree_v2, g_block);
    CALL(cuMemFree_v2, g_block);
    CALL(cuCtxSynchronize);
    CALL(cuDevicePrimaryCtxRelease_v2, 0);
  });
}

// A process may end while the device works and nothing was given back.
BODY(init_exit_with_work) {
  Primary primary;
  Kernels kernels;
  const CUdeviceptr p = allocate(1 << 20);
  for (int i = 0; i < 50; ++i) need(fill(kernels.get("fill"), p, i, 1 << 18, new_stream()), "fill");
}
