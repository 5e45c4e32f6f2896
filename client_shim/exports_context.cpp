#define FARCALL_FAMILY "transport/api/families/context.def"
#include <algorithm>

#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "client_shim/known_waits.h"
#include "transport/cuda/context_storage.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuCtxCreate_v2> {
  static CUresult call(CUcontext* context, unsigned flags, CUdevice ordinal) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuCtxCreate_v2>(context, flags, ordinal);
      if (made != CUDA_SUCCESS) return made;
      client.contexts().add(*context, {ordinal, flags, false});
      client.this_thread().stack.push_back(*context);
      return CUDA_SUCCESS;
    });
  }
};

// Libraries ask for it at every call of theirs, and it never changes.
template <>
struct Around<row::cuCtxGetId> {
  static CUresult call(CUcontext context, unsigned long long* id) {
    return with_client([&](Client& client) {
      if (id == nullptr) return CUDA_ERROR_INVALID_VALUE;
      const CUcontext asked = context == nullptr ? client.this_thread().current() : context;
      if (asked == nullptr || !client.contexts().find(asked)) return CUDA_ERROR_INVALID_CONTEXT;
      auto take = [&](wire::Reader& in) {
        *id = in.get<unsigned long long>();
        return in.done();
      };
      return api::caller_cached(
          row::cuCtxGetId::info(), [&](wire::Writer& out) { out.put(id_of(asked)); }, take);
    });
  }
};

template <>
struct Around<row::cuCtxSynchronize> {
  static CUresult call() {
    return with_client([](Client& client) {
      auto place = WorkPlace::whole(client.this_thread().current());
      return wait_at<row::cuCtxSynchronize>(client, place);
    });
  }
};

template <>
struct Around<row::cuCtxSynchronize_v2> {
  static CUresult call(CUcontext context) {
    return with_client([&](Client& client) {
      CUcontext current = client.this_thread().current();
      // What may contradict a local answer is known of the current context only.
      if (context != nullptr && context != current) {
        return api::call<row::cuCtxSynchronize_v2>(context);
      }
      return wait_at<row::cuCtxSynchronize_v2>(client, WorkPlace::whole(current), context);
    });
  }
};

template <>
struct Around<row::cuCtxDestroy_v2> {
  static CUresult call(CUcontext context) {
    return with_client([&](Client& client) {
      auto facts = client.contexts().find(context);
      if (context == nullptr || !facts) return CUDA_ERROR_INVALID_CONTEXT;
      if (facts->is_primary) return CUDA_ERROR_INVALID_CONTEXT;
      cuda::context_storage_reset(context);
      Ending ending(client);
      CUresult destroyed = ending.of(api::call<row::cuCtxDestroy_v2>(context));
      if (!ending.is_over()) return destroyed;
      client.contexts().drop(context);
      client.completions().forget_all();
      client.allocations().drop_context(context);
      // It leaves this thread's stack; other threads find out when they use it.
      auto& stack = client.this_thread().stack;
      if (!stack.empty() && stack.back() == context) stack.pop_back();
      return destroyed;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
