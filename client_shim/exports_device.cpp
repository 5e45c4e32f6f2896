#define FARCALL_FAMILY "transport/api/families/device.def"
#include "client_shim/around.h"
#include "transport/cuda/context_storage.h"

namespace farcall::shim {
namespace row = api::row;

// Whether a release or reset that returned this ended the context. Of an earlier call's failure,
// which the server reports in its place, only a fault is known not to be its own.
static bool has_ended(CUresult result) {
  return result == CUDA_SUCCESS || Contexts::is_fault(result);
}

// Retains are counted here (hand_context.cpp); the server hears of the first and the last.
template <>
struct Around<row::cuDevicePrimaryCtxRelease_v2> {
  static CUresult call(CUdevice ordinal) {
    return with_client([&](Client& client) {
      const Device* device = client.snapshot().device(ordinal);
      if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
      auto turn = client.contexts().primary_turn(ordinal);
      int left = client.contexts().release_primary(ordinal);
      if (left < 0) return CUDA_ERROR_INVALID_CONTEXT;
      if (left > 0) return CUDA_SUCCESS;
      auto context = handle_of<CUcontext>(device->primary_context);
      cuda::context_storage_reset(context);
      CUresult released = api::call<row::cuDevicePrimaryCtxRelease_v2>(ordinal);
      if (has_ended(released)) client.allocations().drop_context(context);
      client.contexts().clear_fault(context);
      return released;
    });
  }
};

template <>
struct Around<row::cuDevicePrimaryCtxReset_v2> {
  static CUresult call(CUdevice ordinal) {
    return with_client([&](Client& client) {
      const Device* device = client.snapshot().device(ordinal);
      if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
      auto context = handle_of<CUcontext>(device->primary_context);
      auto turn = client.contexts().primary_turn(ordinal);
      cuda::context_storage_reset(context);
      CUresult reset = api::call<row::cuDevicePrimaryCtxReset_v2>(ordinal);
      if (has_ended(reset)) client.allocations().drop_context(context);
      client.contexts().clear_fault(context);
      return reset;
    });
  }
};

template <>
struct Around<row::cuDevicePrimaryCtxSetFlags_v2> {
  static CUresult call(CUdevice ordinal, unsigned flags) {
    CUresult set = api::call<row::cuDevicePrimaryCtxSetFlags_v2>(ordinal, flags);
    if (set == CUDA_SUCCESS) current_client()->contexts().set_primary_flags(ordinal, flags);
    return set;
  }
};

template <>
struct Around<row::cuDevicePrimaryCtxGetState> {
  static CUresult call(CUdevice ordinal, unsigned* flags, int* active) {
    return answer("cuDevicePrimaryCtxGetState", [&](Client& client) {
      if (flags == nullptr || active == nullptr) return CUDA_ERROR_INVALID_VALUE;
      if (client.snapshot().device(ordinal) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
      auto primary = client.contexts().primary(ordinal);
      *flags = primary.flags;
      *active = primary.retains > 0 ? 1 : 0;
      return CUDA_SUCCESS;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
