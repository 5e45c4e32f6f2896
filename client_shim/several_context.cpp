#include "client_shim/several.h"

namespace farcall::shim {
namespace {

// For what is answered here, as by answer() in entry.h.
void count_local(Fleet& fleet, const char* name) {
  fleet.serving().stats().count(CallKind::kLocal, name);
}

bool is_known(Fleet& fleet, CUcontext context) {
  Client* owner = fleet.owner_of(id_of(context));
  return owner != nullptr && owner->contexts().find(context).has_value();
}

}  // namespace

CUresult get_current(Fleet& fleet, CUcontext* context) {
  count_local(fleet, "cuCtxGetCurrent");
  if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *context = fleet.current();
  return CUDA_SUCCESS;
}

CUresult set_current(Fleet& fleet, CUcontext context) {
  count_local(fleet, "cuCtxSetCurrent");
  if (context != nullptr && !is_known(fleet, context)) return CUDA_ERROR_INVALID_CONTEXT;
  std::vector<CUcontext>& stack = fleet.thread().stack;
  if (!stack.empty()) stack.pop_back();
  if (context != nullptr) stack.push_back(context);
  return CUDA_SUCCESS;
}

CUresult push_current(Fleet& fleet, CUcontext context) {
  count_local(fleet, "cuCtxPushCurrent_v2");
  if (context == nullptr || !is_known(fleet, context)) return CUDA_ERROR_INVALID_CONTEXT;
  fleet.thread().stack.push_back(context);
  return CUDA_SUCCESS;
}

CUresult pop_current(Fleet& fleet, CUcontext* context) {
  count_local(fleet, "cuCtxPopCurrent_v2");
  std::vector<CUcontext>& stack = fleet.thread().stack;
  if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context != nullptr) *context = stack.back();
  stack.pop_back();
  return CUDA_SUCCESS;
}

CUresult create_context(Fleet& fleet, int device, CUcontext* context,
                        FunctionRef<CUresult()> create) {
  Client* owner = fleet.owner_of_device(device);
  if (owner == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  Serving serving(fleet, *owner);
  CUresult created = create();
  if (created == CUDA_SUCCESS) fleet.thread().stack.push_back(*context);
  return created;
}

CUresult destroy_context(Fleet& fleet, CUcontext context, FunctionRef<CUresult()> destroy) {
  if (!is_known(fleet, context)) return CUDA_ERROR_INVALID_CONTEXT;
  Client& owner = *fleet.owner_of(id_of(context));
  Serving serving(fleet, owner);
  CUresult destroyed = destroy();
  std::vector<CUcontext>& stack = fleet.thread().stack;
  const bool is_gone = !owner.contexts().find(context).has_value();
  if (is_gone && !stack.empty() && stack.back() == context) stack.pop_back();
  return destroyed;
}

CUresult with_peer(Fleet& fleet, CUcontext peer, CUresult refusal, FunctionRef<CUresult()> call) {
  Client& here = fleet.serving();
  if (is_known(fleet, peer) && fleet.owner_of(id_of(peer)) != &here) return refusal;
  Serving serving(fleet, here);
  return call();
}

CUresult between_devices(Fleet& fleet, int device, int peer, int* answer,
                         FunctionRef<CUresult()> call) {
  Client* owner = fleet.owner_of_device(device);
  Client* other = fleet.owner_of_device(peer);
  if (owner == nullptr || other == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (owner != other) {
    if (answer == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *answer = 0;
    return CUDA_SUCCESS;
  }
  Serving serving(fleet, *owner);
  return call();
}

}  // namespace farcall::shim
