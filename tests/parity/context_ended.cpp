// Without a context, with another's things, and after a context has ended.
#include "tests/parity/setup.h"

using namespace parity;

namespace {
const char* const kNone = "cuda.h: no context is current";
}  // namespace

BODY(context_none) {
  Device ready;
  CUdeviceptr p = 0;
  size_t bytes = 0;
  char room[64] = {};
  CUstream stream = nullptr;
  CUevent event = nullptr;
  CUmodule module = nullptr;
  CUarray array = nullptr;
  void* host = nullptr;
  unsigned flags = 0;
  CUfunc_cache cache{};
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemAlloc_v2, &p, 64);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemAllocPitch_v2, &p, &bytes, 64, 4, 4);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemGetInfo_v2, &bytes, &bytes);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemAllocHost_v2, &host, 64);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemHostAlloc, &host, 64, 0);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemcpyHtoD_v2, p, room, 16);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemcpyDtoH_v2, room, p, 16);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuMemsetD8_v2, p, 0, 16);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuStreamCreate, &stream, 0);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuEventCreate, &event, 0);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuModuleLoadData, &module, kPtx);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuCtxSynchronize);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuCtxGetFlags, &flags);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuCtxGetLimit, &bytes, CU_LIMIT_STACK_SIZE);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuCtxSetLimit, CU_LIMIT_STACK_SIZE, 4096);
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, kNone, cuCtxGetCacheConfig, &cache);
  CALL(cuMemFree_v2, 0);
  CALL(cuMemFree_v2, 4096);
  CALL(cuMemFreeHost, room);
  CALL(cuStreamSynchronize, nullptr);
  CALL(cuStreamQuery, nullptr);
  CALL(cuStreamDestroy_v2, nullptr);
  CALL(cuEventDestroy_v2, nullptr);
  CALL(cuCtxGetStreamPriorityRange, nullptr, nullptr);
  CALL(cuMemcpy, p, p, 0);
  CALL(cuMemcpyHtoDAsync_v2, p, room, 16, nullptr);
  CALL(cuLaunchKernel, nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuMemHostRegister_v2, room, 64, 0);
  CALL(cuMemAllocAsync, &p, 64, nullptr);
  CUDA_ARRAY_DESCRIPTOR shape{16, 1, CU_AD_FORMAT_FLOAT, 1};
  CALL(cuArrayCreate_v2, &array, &shape);
  CALL(cuCtxGetApiVersion, nullptr, &flags);
}

BODY(context_none_but_arguments_wrong) {
  Device ready;
  CALL(cuMemAlloc_v2, nullptr, 64);
  CALL(cuStreamCreate, nullptr, 0);
  CALL(cuEventCreate, nullptr, 0);
  CALL(cuModuleLoadData, nullptr, nullptr);
  CALL(cuMemGetInfo_v2, nullptr, nullptr);
  CALL(cuMemAllocHost_v2, nullptr, 64);
  CALL(cuMemcpyHtoD_v2, 0, nullptr, 16);
  CALL(cuMemcpyHtoD_v2, 0, nullptr, 0);
  CALL(cuCtxGetLimit, nullptr, CU_LIMIT_STACK_SIZE);
}

BODY(context_none_but_things_of_one) {
  Primary primary;
  Kernels kernels;
  const CUdeviceptr p = allocate(256);
  const CUstream stream = new_stream();
  const CUevent event = new_event();
  const CUfunction kernel = kernels.get("empty");
  need(CU(cuCtxSetCurrent)(nullptr), "cuCtxSetCurrent");
  int value = 0;
  CUdeviceptr base = 0;
  size_t bytes = 0;
  CUcontext context = nullptr;
  CUfunction found = nullptr;
  CALL(cuMemcpyHtoD_v2, p, &value, 4);
  CALL(cuMemcpyHtoDAsync_v2, p, &value, 4, stream);
  CALL(cuMemsetD32Async, p, 1, 4, stream);
  CALL(cuLaunchKernel, kernel, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, nullptr);
  CALL(cuStreamSynchronize, stream);
  CALL(cuStreamQuery, stream);
  CALL(cuStreamGetCtx, stream, &context);
  CALL(cuEventRecord, event, stream);
  CALL(cuEventSynchronize, event);
  CALL(cuEventQuery, event);
  CALL(cuMemGetAddressRange_v2, &base, &bytes, p);
  CALL(cuModuleGetFunction, &found, kernels.module, "empty");
  CALL(cuFuncGetAttribute, &value, CU_FUNC_ATTRIBUTE_NUM_REGS, kernel);
  CALL(cuEventDestroy_v2, event);
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuMemFree_v2, p);
  CALL(cuModuleUnload, kernels.module);
}

BODY(context_of_another) {
  Primary primary;
  Kernels kernels;
  const CUdeviceptr p = allocate(256);
  const CUstream stream = new_stream();
  const CUevent event = new_event();
  const CUfunction kernel = kernels.get("fill");
  const CUcontext other = new_context(0);
  const CUstream own = new_stream();
  const CUevent own_event = new_event();
  int value = 5;
  CALL(cuMemcpyHtoD_v2, p, &value, 4);
  value = 0;
  CALL(cuMemcpyDtoH_v2, &value, p, 4);
  VALUE("what came back", value);
  VALUE("launch on its own stream", name_of(fill(kernel, p, 1, 4, stream)));
  VALUE("launch on another's stream", name_of(fill(kernel, p, 2, 4, own)));
  VALUE("launch on the default stream", name_of(fill(kernel, p, 3, 4, nullptr)));
  CALL(cuCtxSynchronize);
  VALUE("memory", text(read_back(p, 4)));
  // "hEvent and hStream must be from the same context".
  EXPECT(CUDA_ERROR_INVALID_HANDLE, "cuda.h, cuEventRecord", cuEventRecord, event, own);
  EXPECT(CUDA_ERROR_INVALID_HANDLE, "cuda.h, cuEventRecord", cuEventRecord, own_event, stream);
  CALL(cuEventRecord, event, nullptr);
  CALL(cuEventRecord, event, stream);
  CALL(cuStreamWaitEvent, own, event, 0);
  CALL(cuStreamSynchronize, stream);
  CALL(cuStreamQuery, stream);
  CALL(cuEventSynchronize, event);
  CUfunction found = nullptr;
  CALL(cuModuleGetFunction, &found, kernels.module, "fill");
  CALL(cuMemFree_v2, p);
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuEventDestroy_v2, event);
  CALL(cuModuleUnload, kernels.module);
  CALL(cuCtxDestroy_v2, other);
}

BODY(context_ended) {
  Device ready;
  const CUcontext one = new_context(0);
  Kernels kernels;
  CUdeviceptr p = allocate(256);
  CUstream stream = new_stream();
  CUevent event = new_event();
  const CUfunction kernel = kernels.get("empty");
  CALL(cuCtxDestroy_v2, one);
  const CUcontext other = new_context(0);
  about("things of the ended context, with another current");
  int value = 0;
  CALL(cuMemcpyHtoD_v2, p, &value, 4);
  CALL(cuMemcpyDtoH_v2, &value, p, 4);
  CALL(cuMemsetD32_v2, p, 1, 4);
  CALL(cuMemFree_v2, p);
  CALL(cuStreamSynchronize, stream);
  CALL(cuStreamQuery, stream);
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuEventQuery, event);
  CALL(cuEventRecord, event, nullptr);
  CALL(cuEventDestroy_v2, event);
  CALL(cuLaunchKernel, kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuModuleGetFunction, nullptr, kernels.module, "empty");
  CALL(cuModuleUnload, kernels.module);
  about("the other is as before");
  CALL(cuMemAlloc_v2, &p, 64);
  CALL(cuMemsetD8_v2, p, 1, 64);
  CALL(cuCtxDestroy_v2, other);
}

BODY(context_ended_while_current) {
  Device ready;
  const CUcontext one = new_context(0);
  CUdeviceptr p = allocate(256);
  CALL(cuCtxPushCurrent_v2, one);
  CALL(cuCtxDestroy_v2, one);
  CUcontext is = nullptr;
  CALL(cuCtxGetCurrent, &is);
  VALUE("current", is == nullptr ? "none" : is == one ? "the ended one" : "another");
  CUdevice device = 0;
  CUstream stream = nullptr;
  CALL(cuCtxGetDevice, &device);
  CALL(cuMemAlloc_v2, &p, 64);
  CALL(cuStreamCreate, &stream, 0);
  CALL(cuCtxSynchronize);
  CALL(cuMemFree_v2, p);
  CALL(cuCtxPopCurrent_v2, &is);
  CALL(cuCtxPopCurrent_v2, &is);
}
