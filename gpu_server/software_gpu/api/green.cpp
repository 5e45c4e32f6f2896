// Green contexts and the resources they are made of.
// Source: CUDA Driver API 13.0, Green Contexts.
#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/green_context.h"
#include "gpu_server/software_gpu/thread_state.h"

namespace farcall::softgpu {
namespace {

std::shared_ptr<GreenContext> green_of(const Context* view) {
  std::shared_ptr<GreenContext> found;
  driver().green_contexts.for_each([&](GreenContext& green) {
    if (green.view.get() == view) found = driver().green_contexts.find(&green);
  });
  return found;
}

CUresult find_green(CUgreenCtx handle, std::shared_ptr<GreenContext>* green) {
  if (CUresult failed = require_driver()) return failed;
  *green = driver().green_contexts.find(handle);
  if (!*green) return CUDA_ERROR_INVALID_CONTEXT;
  return (*green)->view->status();
}

CUresult check_resource(const CUdevResource* resource, CUdevResourceType type) {
  if (resource == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return type == CU_DEV_RESOURCE_TYPE_SM ? CUDA_SUCCESS : CUDA_ERROR_INVALID_RESOURCE_TYPE;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuDeviceGetDevResource(CUdevice device, CUdevResource* resource, CUdevResourceType type) {
  if (CUresult failed = require_driver()) return failed;
  const Device* of = driver().device(device);
  if (of == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (CUresult bad = check_resource(resource, type)) return bad;
  *resource = whole_device(*of);
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevResource(CUcontext hCtx, CUdevResource* resource, CUdevResourceType type) {
  Context* context = nullptr;
  if (CUresult failed = hCtx == nullptr ? require_view(&context) : find_context(hCtx, &context)) {
    return failed;
  }
  if (CUresult bad = check_resource(resource, type)) return bad;
  auto green = green_of(context);
  *resource = green != nullptr ? green->sm : whole_device(context->device());
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxGetDevResource(CUgreenCtx hCtx, CUdevResource* resource,
                                  CUdevResourceType type) {
  std::shared_ptr<GreenContext> green;
  if (CUresult failed = find_green(hCtx, &green)) return failed;
  if (CUresult bad = check_resource(resource, type)) return bad;
  *resource = green->sm;
  return CUDA_SUCCESS;
}

CUresult cuDevSmResourceSplitByCount(CUdevResource* result, unsigned* nbGroups,
                                     const CUdevResource* input, CUdevResource* remaining,
                                     unsigned useFlags, unsigned minCount) {
  if (CUresult failed = require_driver()) return failed;
  if (nbGroups == nullptr || input == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return split({result, nbGroups, input, remaining, useFlags, minCount});
}

CUresult cuDevResourceGenerateDesc(CUdevResourceDesc* phDesc, CUdevResource* resources,
                                   unsigned nbResources) {
  if (CUresult failed = require_driver()) return failed;
  constexpr unsigned kPartsMax = 1024;  // more than any device has multiprocessors
  if (phDesc == nullptr || resources == nullptr || nbResources > kPartsMax) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto made = std::make_shared<ResourceDescription>();
  if (CUresult bad = describe({resources, resources + nbResources}, made.get())) return bad;
  *phDesc = driver().resource_descriptions.add<CUdevResourceDesc>(std::move(made));
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxCreate(CUgreenCtx* phCtx, CUdevResourceDesc desc, CUdevice dev, unsigned flags) {
  if (CUresult failed = require_driver()) return failed;
  Device* device = driver().device(dev);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  auto what = driver().resource_descriptions.find(desc);
  if (phCtx == nullptr || !what || flags != CU_GREEN_CTX_DEFAULT_STREAM) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (what->ordinal != dev) return CUDA_ERROR_INVALID_DEVICE;
  auto green = std::make_shared<GreenContext>(*device, what->sm);
  driver().contexts.add<CUcontext>(green->view);
  *phCtx = driver().green_contexts.add<CUgreenCtx>(std::move(green));
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxDestroy(CUgreenCtx hCtx) {
  if (CUresult failed = require_driver()) return failed;
  auto green = driver().green_contexts.remove(hCtx);
  if (!green) return CUDA_ERROR_INVALID_CONTEXT;
  driver().contexts.remove(green->view.get());
  green->view->clear();
  ThreadState& thread = this_thread();
  if (thread.current() == green->view.get()) thread.pop();
  driver().retire(green->view);
  return CUDA_SUCCESS;
}

CUresult cuCtxFromGreenCtx(CUcontext* pContext, CUgreenCtx hCtx) {
  std::shared_ptr<GreenContext> green;
  if (CUresult failed = find_green(hCtx, &green)) return failed;
  if (pContext == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pContext = green->view->handle();
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxRecordEvent(CUgreenCtx hCtx, CUevent hEvent) {
  std::shared_ptr<GreenContext> green;
  if (CUresult failed = find_green(hCtx, &green)) return failed;
  auto event = driver().events.find(hEvent);
  if (!event || &event->context().home() != &green->view->home()) return CUDA_ERROR_INVALID_HANDLE;
  event->record(green->view->all_tails());
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxWaitEvent(CUgreenCtx hCtx, CUevent hEvent) {
  std::shared_ptr<GreenContext> green;
  if (CUresult failed = find_green(hCtx, &green)) return failed;
  auto event = driver().events.find(hEvent);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  green->view->all_wait_for(*event);
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxStreamCreate(CUstream* phStream, CUgreenCtx greenCtx, unsigned flags,
                                int priority) {
  std::shared_ptr<GreenContext> green;
  if (CUresult failed = find_green(greenCtx, &green)) return failed;
  if (phStream == nullptr || flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  *phStream = driver().streams.add<CUstream>(
      green->view->open_stream(StreamKind::kNonBlocking, std::clamp(priority, -5, 0)));
  return CUDA_SUCCESS;
}

CUresult cuGreenCtxGetId(CUgreenCtx greenCtx, unsigned long long* greenCtxId) {
  if (CUresult failed = require_driver()) return failed;
  if (greenCtxId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto green = greenCtx != nullptr ? driver().green_contexts.find(greenCtx)
                                   : green_of(this_thread().current());
  if (!green) return CUDA_ERROR_INVALID_CONTEXT;
  *greenCtxId = green->view->id();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetGreenCtx(CUstream hStream, CUgreenCtx* phCtx) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (phCtx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *phCtx = reinterpret_cast<CUgreenCtx>(green_of(&stream->context()).get());
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx_v2(CUstream hStream, CUcontext* pCtx, CUgreenCtx* pGreenCtx) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  auto green = green_of(&stream->context());
  if (pCtx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pCtx = stream->context().home().handle();
  if (pGreenCtx != nullptr) *pGreenCtx = reinterpret_cast<CUgreenCtx>(green.get());
  return CUDA_SUCCESS;
}
}
