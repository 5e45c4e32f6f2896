// Contexts and the calling thread's stack of them.
// Source: CUDA Driver API 13.0, Context Management.
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/thread_state.h"

namespace farcall::softgpu {
namespace {

constexpr unsigned kFlagsKnown = CU_CTX_FLAGS_MASK;
constexpr int kPriorityLeast = 0;
constexpr int kPriorityGreatest = -5;

CUresult create_context(CUcontext* handle, unsigned flags, CUdevice dev) {
  if (CUresult failed = require_driver()) return failed;
  Device* device = driver().device(dev);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (handle == nullptr || (flags & ~kFlagsKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  auto context = std::make_shared<Context>(*device, flags, false);
  context->activate();
  *handle = driver().contexts.add<CUcontext>(context);
  this_thread().push(std::move(context));
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuCtxCreate(CUcontext* pctx, unsigned flags, CUdevice dev) {
  return create_context(pctx, flags, dev);
}
CUresult cuCtxCreate_v2(CUcontext* pctx, unsigned flags, CUdevice dev) {
  return create_context(pctx, flags, dev);
}
CUresult cuCtxCreate_v3(CUcontext* pctx, CUexecAffinityParam*, int numParams, unsigned flags,
                        CUdevice dev) {
  if (numParams != 0) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
  return create_context(pctx, flags, dev);
}
CUresult cuCtxCreate_v4(CUcontext* pctx, CUctxCreateParams* params, unsigned flags, CUdevice dev) {
  if (params != nullptr && params->numExecAffinityParams != 0) {
    return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
  }
  if (params != nullptr && params->cigParams != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return create_context(pctx, flags, dev);
}

CUresult cuCtxDestroy_v2(CUcontext ctx) {
  if (CUresult failed = require_driver()) return failed;
  auto context = driver().contexts.find(ctx);
  if (!context || context->is_primary() || context->is_view()) return CUDA_ERROR_INVALID_CONTEXT;
  context = driver().contexts.remove(ctx);
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  context->clear();
  ThreadState& thread = this_thread();
  if (thread.current() == context.get()) thread.pop();
  driver().retire(std::move(context));
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext ctx) {
  if (CUresult failed = require_driver()) return failed;
  auto context = driver().contexts.find(ctx);
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  this_thread().push(std::move(context));
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext* pctx) {
  if (CUresult failed = require_driver()) return failed;
  auto context = this_thread().pop();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (pctx != nullptr) *pctx = context->handle();
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext ctx) {
  if (CUresult failed = require_driver()) return failed;
  if (ctx == nullptr) {
    this_thread().set_current(nullptr);
    return CUDA_SUCCESS;
  }
  auto context = driver().contexts.find(ctx);
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  this_thread().set_current(std::move(context));
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* pctx) {
  if (CUresult failed = require_driver()) return failed;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Context* context = this_thread().current();
  *pctx = context == nullptr ? nullptr : context->handle();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice_v2(CUdevice* device, CUcontext ctx) {
  if (CUresult failed = require_driver()) return failed;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  // Also told of a context that met a fault or whose primary is not retained.
  Context* context = this_thread().current();
  std::shared_ptr<Context> named;
  if (ctx != nullptr) {
    named = driver().contexts.find(ctx);
    context = named.get();
  }
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  *device = context->device().ordinal();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device) { return cuCtxGetDevice_v2(device, nullptr); }

CUresult cuCtxSynchronize_v2(CUcontext ctx) {
  Context* context = nullptr;
  const CUresult found = ctx == nullptr ? require_view(&context) : find_context(ctx, &context);
  if (context == nullptr) return found;
  if (CUresult no = forbid_waiting(*context)) return no;
  // After a fault too: whoever is told of it may rely on callbacks having been called.
  context->synchronize();
  return context->status();
}

CUresult cuCtxSynchronize(void) { return cuCtxSynchronize_v2(nullptr); }

CUresult cuCtxGetFlags(unsigned* flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = context->flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if ((flags & ~kFlagsKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  context->flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext ctx, unsigned long long* ctxId) {
  Context* context = nullptr;
  if (CUresult failed = find_context(ctx, &context)) return failed;
  if (ctxId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *ctxId = context->id();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned* version) {
  if (CUresult failed = require_driver()) return failed;
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (ctx == nullptr ? this_thread().current() == nullptr : !driver().contexts.find(ctx)) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  *version = 3020;  // the version of the context interface, unchanged since CUDA 3.2
  return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (limit < 0 || limit >= CU_LIMIT_MAX) return CUDA_ERROR_INVALID_VALUE;
  context->limits[limit] = value;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(size_t* pvalue, CUlimit limit) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (pvalue == nullptr || limit < 0 || limit >= CU_LIMIT_MAX) return CUDA_ERROR_INVALID_VALUE;
  *pvalue = context->limits[limit];
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCacheConfig(CUfunc_cache* pconfig) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (pconfig == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pconfig = static_cast<CUfunc_cache>(context->cache_config.load());
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  context->cache_config = config;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetSharedMemConfig(CUsharedconfig* pConfig) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (pConfig == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pConfig = static_cast<CUsharedconfig>(context->shared_config.load());
  return CUDA_SUCCESS;
}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  context->shared_config = config;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int* leastPriority, int* greatestPriority) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (leastPriority != nullptr) *leastPriority = kPriorityLeast;
  if (greatestPriority != nullptr) *greatestPriority = kPriorityGreatest;
  return CUDA_SUCCESS;
}

CUresult cuCtxResetPersistingL2Cache(void) {
  Context* context = nullptr;
  return require_context(&context);
}

CUresult cuCtxRecordEvent(CUcontext hCtx, CUevent hEvent) {
  Context* context = nullptr;
  if (CUresult failed = find_context(hCtx, &context)) return failed;
  auto event = driver().events.find(hEvent);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult no = forbid_waiting(*context, false)) return no;
  event->record(context->all_tails());
  return CUDA_SUCCESS;
}

CUresult cuCtxWaitEvent(CUcontext hCtx, CUevent hEvent) {
  Context* context = nullptr;
  if (CUresult failed = find_context(hCtx, &context)) return failed;
  auto event = driver().events.find(hEvent);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  if (CUresult no = forbid_waiting(*context)) return no;
  context->all_wait_for(*event);
  return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext ctx) { return cuCtxDestroy_v2(ctx); }
CUresult cuCtxPopCurrent(CUcontext* pctx) { return cuCtxPopCurrent_v2(pctx); }
CUresult cuCtxPushCurrent(CUcontext ctx) { return cuCtxPushCurrent_v2(ctx); }
}
