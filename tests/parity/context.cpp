// Contexts: the stack of a thread, their making and ending, their flags.
#include <string>
#include <thread>

#include "tests/parity/setup.h"

using namespace parity;

namespace {

std::string which(CUcontext context, CUcontext one, CUcontext two) {
  if (context == nullptr) return "none";
  if (context == one) return "one";
  return context == two ? "two" : "another";
}

CUcontext current() {
  CUcontext is = nullptr;
  need(CU(cuCtxGetCurrent)(&is), "cuCtxGetCurrent");
  return is;
}

}  // namespace

BODY(context_stack) {
  Device ready;
  CUcontext popped = nullptr;
  CUdevice device = 77;
  VALUE("current", which(current(), nullptr, nullptr));
  EXPECT(CUDA_ERROR_INVALID_CONTEXT, "cuda.h, cuCtxGetDevice", cuCtxGetDevice, &device);
  CALL(cuCtxPopCurrent_v2, &popped);
  CALL(cuCtxPopCurrent_v2, nullptr);
  CALL(cuCtxPushCurrent_v2, nullptr);
  CALL(cuCtxSetCurrent, nullptr);
  CALL(cuCtxGetCurrent, nullptr);
  const CUcontext one = new_context(0);
  const CUcontext two = new_context(0);
  VALUE("current", which(current(), one, two));
  CALL(cuCtxPushCurrent_v2, one);
  CALL(cuCtxPushCurrent_v2, one);
  VALUE("current", which(current(), one, two));
  // "If there exists a CUDA context stack on the calling CPU thread, this will replace the top".
  CALL(cuCtxSetCurrent, two);
  VALUE("current", which(current(), one, two));
  CALL(cuCtxPopCurrent_v2, &popped);
  VALUE("popped", which(popped, one, two));
  CALL(cuCtxSetCurrent, nullptr);
  VALUE("current", which(current(), one, two));
  CALL(cuCtxPopCurrent_v2, nullptr);
  VALUE("current", which(current(), one, two));
  CALL(cuCtxGetDevice, &device);
  VALUE("device", device);
  CALL(cuCtxGetDevice, nullptr);
  CALL(cuCtxPopCurrent_v2, &popped);
  VALUE("popped", which(popped, one, two));
  CALL(cuCtxPopCurrent_v2, &popped);
  CUresult code = CUDA_SUCCESS;
  for (int i = 0; i < 200 && code == CUDA_SUCCESS; ++i) code = CU(cuCtxPushCurrent_v2)(one);
  VALUE("200 times pushed", name_of(code));
}

BODY(context_create) {
  Device ready;
  CUcontext one = nullptr;
  CALL(cuCtxCreate_v2, nullptr, 0, 0);
  CALL(cuCtxCreate_v2, &one, 0, 99);
  CALL(cuCtxCreate_v2, &one, 0, -1);
  CALL(cuCtxCreate_v2, &one, 0x3, 0);
  CALL(cuCtxCreate_v2, &one, 0x7, 0);
  CALL(cuCtxCreate_v2, &one, 0x80000000, 0);
  CALL(cuCtxCreate_v2, &one, ~0U, 0);
  VALUE("none made", one == nullptr);
  VALUE("current", which(current(), nullptr, nullptr));
  CALL(cuCtxCreate_v2, &one, CU_CTX_SCHED_BLOCKING_SYNC | CU_CTX_LMEM_RESIZE_TO_MAX, 0);
  VALUE("current", which(current(), one, nullptr));
  unsigned flags = 0;
  CALL(cuCtxGetFlags, &flags);
  VALUE("flags", flags);
  CALL(cuCtxGetFlags, nullptr);
  unsigned version = 0;
  CALL(cuCtxGetApiVersion, one, &version);
  VALUE("version", version);
  CALL(cuCtxGetApiVersion, nullptr, &version);
  VALUE("version of the current", version);
  CALL(cuCtxGetApiVersion, one, nullptr);
  unsigned long long id = 0;
  unsigned long long same = 0;
  CALL(cuCtxGetId, one, &id);
  CALL(cuCtxGetId, nullptr, &same);
  VALUE("the same id", id == same);
  CALL(cuCtxGetId, one, nullptr);
  CALL(cuCtxDestroy_v2, nullptr);
  CALL(cuCtxDestroy_v2, one);
  VALUE("current", which(current(), one, nullptr));
  CALL(cuCtxDestroy_v2, one);
  CALL(cuCtxSetCurrent, one);
  CALL(cuCtxPushCurrent_v2, one);
  CALL(cuCtxGetApiVersion, one, &version);
  CALL(cuCtxGetId, one, &id);
}

BODY(context_create_v4) {
  Device ready;
  CUcontext one = nullptr;
  CALL(cuCtxCreate_v4, &one, nullptr, 0, 0);
  unsigned version = 0;
  CALL(cuCtxGetApiVersion, one, &version);
  VALUE("version", version);
  CUctxCreateParams nothing{};
  CALL(cuCtxCreate_v4, &one, &nothing, 0, 0);
  CALL(cuCtxCreate_v4, nullptr, nullptr, 0, 0);
  CALL(cuCtxCreate_v4, &one, nullptr, 0, 99);
  CALL(cuCtxCreate_v4, &one, nullptr, ~0U, 0);
}

BODY(context_attach) {
  Primary primary;
  CUcontext attached = nullptr;
  CALL(cuCtxAttach, &attached, 0);
  CALL(cuCtxAttach, &attached, 1);
  CALL(cuCtxAttach, nullptr, 0);
  const CUcontext one = new_context(0);
  CALL(cuCtxAttach, &attached, 0);
  VALUE("attached", which(attached, one, primary.context));
  CALL(cuCtxDetach, nullptr);
  CALL(cuCtxDetach, one);
  VALUE("current", which(current(), one, primary.context));
  CALL(cuCtxDetach, one);
  VALUE("current", which(current(), one, primary.context));
}

BODY(context_primary_is_not_destroyed) {
  Primary primary;
  CALL(cuCtxDestroy_v2, primary.context);
  CUdeviceptr p = 0;
  CALL(cuMemAlloc_v2, &p, 64);
  VALUE("current", which(current(), primary.context, nullptr));
}

BODY(context_flags) {
  Primary primary;
  unsigned flags = 77;
  CALL(cuCtxGetFlags, &flags);
  VALUE("flags", flags);
  CALL(cuCtxSetFlags, CU_CTX_SCHED_YIELD);
  CALL(cuCtxGetFlags, &flags);
  VALUE("flags", flags);
  CALL(cuCtxSetFlags, 0x7);
  CALL(cuCtxSetFlags, ~0U);
  CALL(cuCtxGetFlags, &flags);
  VALUE("flags", flags);
}

BODY(context_limits) {
  Primary primary;
  for (int limit = -1; limit <= 12; ++limit) {
    const std::string what = "limit " + std::to_string(limit);
    size_t is = 0;
    const CUresult code = CU(cuCtxGetLimit)(&is, number<CUlimit>(limit));
    VALUE(what.c_str(), name_of(code));
    if (code == CUDA_SUCCESS) FACT(what.c_str(), static_cast<long long>(is));
  }
  size_t is = 0;
  CALL(cuCtxGetLimit, &is, number<CUlimit>(99));
  CALL(cuCtxGetLimit, nullptr, CU_LIMIT_STACK_SIZE);
  CALL(cuCtxSetLimit, CU_LIMIT_STACK_SIZE, 4096);
  CALL(cuCtxGetLimit, &is, CU_LIMIT_STACK_SIZE);
  VALUE("stack", static_cast<long long>(is));
  CALL(cuCtxSetLimit, CU_LIMIT_STACK_SIZE, 1 << 30);
  CALL(cuCtxSetLimit, CU_LIMIT_STACK_SIZE, SIZE_MAX);
  CALL(cuCtxSetLimit, CU_LIMIT_STACK_SIZE, 0);
  CALL(cuCtxSetLimit, CU_LIMIT_PRINTF_FIFO_SIZE, 2 << 20);
  CALL(cuCtxGetLimit, &is, CU_LIMIT_PRINTF_FIFO_SIZE);
  VALUE("printf", static_cast<long long>(is));
  CALL(cuCtxSetLimit, CU_LIMIT_MALLOC_HEAP_SIZE, 32 << 20);
  CALL(cuCtxGetLimit, &is, CU_LIMIT_MALLOC_HEAP_SIZE);
  VALUE("heap", static_cast<long long>(is));
  CALL(cuCtxSetLimit, CU_LIMIT_MAX_L2_FETCH_GRANULARITY, 64);
  CALL(cuCtxSetLimit, CU_LIMIT_MAX_L2_FETCH_GRANULARITY, 1000);
  CALL(cuCtxSetLimit, CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 0);
  CALL(cuCtxSetLimit, number<CUlimit>(99), 1);
  CALL(cuCtxResetPersistingL2Cache);
}

BODY(context_settings) {
  Primary primary;
  CUfunc_cache cache{};
  CUsharedconfig shared{};
  int least = 77;
  int greatest = 77;
  CALL(cuCtxGetCacheConfig, &cache);
  VALUE("cache", cache);
  CALL(cuCtxGetCacheConfig, nullptr);
  CALL(cuCtxSetCacheConfig, CU_FUNC_CACHE_PREFER_L1);
  CALL(cuCtxSetCacheConfig, number<CUfunc_cache>(9));
  CALL(cuCtxSetCacheConfig, number<CUfunc_cache>(-1));
  CALL(cuCtxGetSharedMemConfig, &shared);
  CALL(cuCtxGetSharedMemConfig, nullptr);
  CALL(cuCtxSetSharedMemConfig, CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE);
  CALL(cuCtxSetSharedMemConfig, number<CUsharedconfig>(9));
  CALL(cuCtxGetStreamPriorityRange, &least, &greatest);
  FACT("priorities", std::to_string(least) + " " + std::to_string(greatest));
  CALL(cuCtxGetStreamPriorityRange, nullptr, &greatest);
  CALL(cuCtxGetStreamPriorityRange, &least, nullptr);
  CALL(cuCtxGetStreamPriorityRange, nullptr, nullptr);
}

BODY(context_threads) {
  Primary primary;
  std::thread([&] {
    VALUE("current in a new thread", which(current(), primary.context, nullptr));
    CUdeviceptr p = 0;
    CALL(cuMemAlloc_v2, &p, 64);
    CALL(cuCtxPushCurrent_v2, primary.context);
    CALL(cuMemAlloc_v2, &p, 64);
  }).join();
  VALUE("current here", which(current(), primary.context, nullptr));
  const CUcontext one = new_context(0);
  std::thread([&] {
    CALL(cuCtxSetCurrent, one);
    CALL(cuCtxDestroy_v2, one);
    VALUE("current there", which(current(), one, primary.context));
  }).join();
  VALUE("current here", which(current(), one, primary.context));
  CUdeviceptr p = 0;
  CALL(cuMemAlloc_v2, &p, 64);
  CALL(cuCtxSynchronize);
  CUdevice device = 77;
  CALL(cuCtxGetDevice, &device);
  CALL(cuCtxPopCurrent_v2, nullptr);
  VALUE("current here", which(current(), one, primary.context));
}
