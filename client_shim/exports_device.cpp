#define FARCALL_FAMILY "transport/api/families/device.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "client_shim/graph_copies.h"
#include "client_shim/mirrored.h"
#include "transport/cuda/context_storage.h"

namespace farcall::shim {
namespace row = api::row;
namespace {

void drop_memory(Client& client, CUcontext context) {
  client.mirrors().drop_context(context);
  client.graph_copies().drop_context(context);
  client.allocations().drop_context(context);
}

}  // namespace

// Retains are counted here (hand_context.cpp); the server hears of the first and the last, and of
// the first after a reset.
template <>
struct Around<row::cuDevicePrimaryCtxRelease_v2> {
  static CUresult call(CUdevice ordinal) {
    return with_client([&](Client& client) {
      const Device* device = client.snapshot().device(ordinal);
      if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
      auto turn = client.contexts().primary_turn(ordinal);
      int left = client.contexts().release_primary(ordinal);
      if (left < 0) return CUDA_ERROR_INVALID_CONTEXT;
      // Nothing is left of one that was reset and that nobody retained again.
      if (left > 0 || !client.contexts().end_primary(ordinal)) return CUDA_SUCCESS;
      auto context = handle_of<CUcontext>(device->primary_context);
      cuda::context_storage_reset(context);
      unmap_hosts(client, context);
      Ending ending(client);
      CUresult released = ending.of(api::call<row::cuDevicePrimaryCtxRelease_v2>(ordinal));
      if (ending.is_over() || Contexts::is_fault(released)) drop_memory(client, context);
      client.contexts().clear_fault(context);
      client.completions().forget_all();
      recheck_captures(client);
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
      unmap_hosts(client, context);
      Ending ending(client);
      CUresult reset = ending.of(api::call<row::cuDevicePrimaryCtxReset_v2>(ordinal));
      if (ending.is_over() || Contexts::is_fault(reset)) {
        drop_memory(client, context);
        client.contexts().end_primary(ordinal);
      }
      client.contexts().clear_fault(context);
      // Until somebody retains it again.
      if (ending.is_over()) {
        client.contexts().note_result(context, CUDA_ERROR_CONTEXT_IS_DESTROYED);
      }
      client.completions().forget_all();
      recheck_captures(client);
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
      *active = primary.is_active ? 1 : 0;
      return CUDA_SUCCESS;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
