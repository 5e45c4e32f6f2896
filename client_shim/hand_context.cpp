// The context stack and primary contexts. The stack is the thread's own business and never crosses
// the wire: the server hears of a thread's current context with that thread's next call.
#include "client_shim/behind.h"
#include "client_shim/entry.h"
#include "transport/api/device_numbers.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Device;
using farcall::shim::handle_of;
using farcall::shim::id_of;
using farcall::shim::ThreadState;
using farcall::shim::with_client;
namespace row = farcall::api::row;

FARCALL_EXPORT cuCtxGetCurrent(CUcontext* context) {
  return answer("cuCtxGetCurrent", [&](Client& client) {
    if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *context = client.this_thread().current();
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuCtxSetCurrent(CUcontext context) {
  return answer("cuCtxSetCurrent", [&](Client& client) {
    if (context != nullptr && !client.contexts().find(context)) return CUDA_ERROR_INVALID_CONTEXT;
    client.this_thread().set_current(context);
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuCtxPushCurrent_v2(CUcontext context) {
  return answer("cuCtxPushCurrent_v2", [&](Client& client) {
    if (context == nullptr || !client.contexts().find(context)) return CUDA_ERROR_INVALID_CONTEXT;
    client.this_thread().stack.push_back(context);
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuCtxPopCurrent_v2(CUcontext* context) {
  return answer("cuCtxPopCurrent_v2", [&](Client& client) {
    ThreadState& thread = client.this_thread();
    if (thread.stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context != nullptr) *context = thread.current();
    thread.stack.pop_back();
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuCtxGetDevice(CUdevice* device) {
  return answer("cuCtxGetDevice", [&](Client& client) {
    if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
    return client.current_device(device);
  });
}

FARCALL_EXPORT cuCtxGetDevice_v2(CUdevice* device, CUcontext context) {
  return answer("cuCtxGetDevice_v2", [&](Client& client) {
    if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (context == nullptr) return client.current_device(device);
    auto facts = client.contexts().find(context);
    if (!facts) return CUDA_ERROR_INVALID_CONTEXT;
    *device = facts->ordinal;
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice dev) {
  return with_client([&](Client& client) {
    const Device* device = client.snapshot().device(dev);
    if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    auto turn = client.contexts().primary_turn(dev);
    if (client.contexts().retain_primary(dev)) {
      // Its id is known, so nothing is waited for: a device that cannot be had shows at the next
      // call that waits.
      auto encode = [&](farcall::wire::Writer& out) {
        out.put(farcall::api::hand::RetainPrimary{farcall::api::server_device(dev)});
      };
      CUresult retained = client.post_early(row::cuDevicePrimaryCtxRetain::info(), encode);
      if (retained != CUDA_SUCCESS) {
        client.contexts().release_primary(dev);
        client.contexts().end_primary(dev);
        return retained;
      }
      client.contexts().clear_fault(handle_of<CUcontext>(device->primary_context));
    } else {
      client.stats().count(farcall::shim::CallKind::kLocal, "cuDevicePrimaryCtxRetain");
    }
    *context = handle_of<CUcontext>(device->primary_context);
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuCtxGetApiVersion(CUcontext context, unsigned int* version) {
  return answer("cuCtxGetApiVersion", [&](Client& client) {
    if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
    CUcontext asked = context == nullptr ? client.this_thread().current() : context;
    if (asked == nullptr || !client.contexts().find(asked)) return CUDA_ERROR_INVALID_CONTEXT;
    *version = 3020;  // the same for every context since CUDA 3.2
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuCtxCreate_v3(CUcontext* context, CUexecAffinityParam* params, int count,
                              unsigned int flags, CUdevice dev) {
  if (count != 0) {
    return params == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
  }
  return cuCtxCreate_v2(context, flags, dev);
}

FARCALL_EXPORT cuCtxCreate_v4(CUcontext* context, CUctxCreateParams* params, unsigned int flags,
                              CUdevice dev) {
  if (params != nullptr &&
      (params->execAffinityParams != nullptr || params->cigParams != nullptr)) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return cuCtxCreate_v2(context, flags, dev);
}
