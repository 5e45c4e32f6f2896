// After a kernel's fault: what every kind of call answers, and how far the fault reaches.
#include "tests/parity/setup.h"

using namespace parity;

namespace {

// What follows a fault that `synchronized` has told of.
struct Things {
  CUmodule module;
  CUfunction empty;
  CUdeviceptr p;
  CUstream stream;
  CUevent event;
};

void aftermath(const Primary& primary, const Things& things) {
  const auto& [loaded, empty, p, stream, event] = things;
  int value = 0;
  CUdeviceptr more = 0;
  CUstream made = nullptr;
  CUevent event_made = nullptr;
  CUmodule module = nullptr;
  CUcontext current = nullptr;
  size_t bytes = 0;
  unsigned flags = 0;
  void* host = nullptr;
  about("once more");
  CALL(cuCtxSynchronize);
  CALL(cuStreamSynchronize, stream);
  CALL(cuStreamQuery, stream);
  CALL(cuEventQuery, event);
  CALL(cuEventSynchronize, event);
  CALL(cuEventRecord, event, stream);
  CALL(cuMemAlloc_v2, &more, 64);
  CALL(cuMemAllocHost_v2, &host, 64);
  CALL(cuMemGetInfo_v2, &bytes, &bytes);
  CALL(cuMemcpyHtoD_v2, p, &value, 4);
  CALL(cuMemcpyDtoH_v2, &value, p, 4);
  CALL(cuMemcpyHtoDAsync_v2, p, &value, 4, stream);
  CALL(cuMemsetD8_v2, p, 1, 4);
  CALL(cuLaunchKernel, empty, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, nullptr);
  CALL(cuStreamCreate, &made, 0);
  CALL(cuEventCreate, &event_made, 0);
  CALL(cuModuleLoadData, &module, kPtx);
  about("what needs no device");
  CALL(cuCtxGetCurrent, &current);
  CALL(cuCtxGetFlags, &flags);
  CALL(cuCtxGetLimit, &bytes, CU_LIMIT_STACK_SIZE);
  CALL(cuCtxGetApiVersion, primary.context, &flags);
  CALL(cuMemGetAddressRange_v2, nullptr, &bytes, p);
  CALL(cuPointerGetAttribute, &value, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p);
  CALL(cuFuncGetAttribute, &value, CU_FUNC_ATTRIBUTE_NUM_REGS, empty);
  CALL(cuStreamGetFlags, stream, &flags);
  CALL(cuDeviceGetAttribute, &value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0);
  about("wrong arguments");
  CALL(cuMemAlloc_v2, &more, 0);
  CALL(cuMemAlloc_v2, nullptr, 64);
  about("giving back");
  CALL(cuMemFree_v2, p);
  CALL(cuEventDestroy_v2, event);
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuModuleUnload, loaded);
}

void fault_by(const char* kernel, CUresult told, const char* source) {
  Primary primary;
  Kernels kernels;
  const Things things{kernels.module, kernels.get("empty"), allocate(256), new_stream(),
                      new_event()};
  const CUstream stream = things.stream;
  const CUevent event = things.event;
  CUdeviceptr nowhere = 0x10;
  void* parameters[] = {&nowhere};
  const CUfunction f = kernels.get(kernel);
  VALUE("launch", name_of(CU(cuLaunchKernel)(f, 1, 1, 1, 1, 1, 1, 0, stream, parameters, nullptr)));
  // Behind it, or too late already: nobody can say.
  static_cast<void>(CU(cuEventRecord)(event, stream));
  EXPECT(told, source, cuStreamSynchronize, stream);
  aftermath(primary, things);
  about("reset");
  CUcontext again = nullptr;
  CALL(cuDevicePrimaryCtxReset_v2, 0);
  CALL(cuDevicePrimaryCtxRetain, &again, 0);
  CALL(cuCtxSetCurrent, again);
  CUdeviceptr fresh = 0;
  CALL(cuMemAlloc_v2, &fresh, 64);
  CALL(cuMemsetD8_v2, fresh, 1, 64);
  CALL(cuCtxSynchronize);
}

}  // namespace

BODY(sticky_illegal_address) { fault_by("fault", CUDA_ERROR_ILLEGAL_ADDRESS, "cuda.h, CUresult"); }

BODY(sticky_trap) { fault_by("trap", CUDA_ERROR_LAUNCH_FAILED, "cuda.h, CUresult"); }

BODY(sticky_assert) { fault_by("fail_assert", CUDA_ERROR_ASSERT, "cuda.h, CUresult"); }

BODY(sticky_own_context) {
  Primary primary;
  const CUdeviceptr p = allocate(256);
  const CUcontext one = new_context(0);
  Kernels kernels;
  CUdeviceptr nowhere = 0x10;
  void* parameters[] = {&nowhere};
  const CUfunction f = kernels.get("fault");
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr);
  CALL(cuCtxSynchronize);
  CALL(cuCtxDestroy_v2, one);
  about("the primary context");
  CALL(cuCtxSetCurrent, primary.context);
  CALL(cuMemsetD8_v2, p, 1, 16);
  CALL(cuCtxSynchronize);
  CALL(cuMemFree_v2, p);
}

// A launch that is refused leaves nothing behind.
BODY(sticky_not_a_refused_launch) {
  Primary primary;
  Kernels kernels;
  const CUdeviceptr p = allocate(64);
  const CUfunction f = kernels.get("empty");
  CALL(cuLaunchKernel, f, 1, 1, 1, 4096, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuMemsetD8_v2, p, 1, 16);
  CALL(cuCtxSynchronize);
  CALL(cuMemcpyDtoH_v2, nullptr, p, 16);
  CALL(cuCtxSynchronize);
}

BODY(sticky_told_by_a_copy) {
  Primary primary;
  Kernels kernels;
  const CUdeviceptr p = allocate(64);
  const CUfunction f = kernels.get("trap");
  int value = 0;
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuMemcpyDtoH_v2, &value, p, 4);
  CALL(cuMemcpyDtoH_v2, &value, p, 4);
  CALL(cuMemAlloc_v2, nullptr, 0);
}
