#define FARCALL_FAMILY "transport/api/families/context.def"
#include <algorithm>

#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "client_shim/graph_copies.h"
#include "client_shim/known_waits.h"
#include "client_shim/mirrored.h"
#include "transport/cuda/context_storage.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuCtxCreate_v2> {
  static CUresult call(CUcontext* context, unsigned flags, CUdevice ordinal) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuCtxCreate_v2>(context, flags, ordinal);
      if (made != CUDA_SUCCESS) return made;
      client.contexts().add(*context, {ordinal, flags, false, nullptr});
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

// What keeps a wait from being asked for. A fault does not: what kernels printed comes with waits.
namespace {
CUresult without_context(Client& client) {
  const CUresult bad = client.require_context();
  return Contexts::is_fault(bad) ? CUDA_SUCCESS : bad;
}
}  // namespace

template <>
struct Around<row::cuCtxSynchronize> {
  static CUresult call() {
    return with_client([](Client& client) {
      if (CUresult bad = without_context(client); bad != CUDA_SUCCESS) return bad;
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
      if (CUresult bad = without_context(client); bad != CUDA_SUCCESS) return bad;
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
      if (facts->is_primary || facts->green != nullptr) return CUDA_ERROR_INVALID_CONTEXT;
      cuda::context_storage_reset(context);
      unmap_hosts(client, context);
      Ending ending(client);
      CUresult destroyed = ending.of(api::call<row::cuCtxDestroy_v2>(context));
      if (!ending.is_over()) return destroyed;
      client.mirrors().drop_context(context);
      client.graph_copies().drop_context(context);
      // It leaves the top of this thread's stack; who has it elsewhere finds out by using it.
      auto& stack = client.this_thread().stack;
      if (!stack.empty() && stack.back() == context) stack.pop_back();
      const bool is_below = std::find(stack.begin(), stack.end(), context) != stack.end();
      client.contexts().drop(context, is_below || client.has_threads());
      client.completions().forget_all();
      client.allocations().drop_context(context);
      recheck_captures(client);
      return destroyed;
    });
  }
};

template <>
struct Around<row::cuGreenCtxCreate> {
  static CUresult call(CUgreenCtx* green, CUdevResourceDesc what, CUdevice ordinal,
                       unsigned flags) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuGreenCtxCreate>(green, what, ordinal, flags);
      if (made == CUDA_SUCCESS) client.contexts().add_green(*green, ordinal);
      return made;
    });
  }
};

template <>
struct Around<row::cuCtxFromGreenCtx> {
  static CUresult call(CUcontext* context, CUgreenCtx green) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuCtxFromGreenCtx>(context, green);
      if (made != CUDA_SUCCESS || client.contexts().find(*context)) return made;
      auto ordinal = client.contexts().green_device(green);
      if (!ordinal) return CUDA_ERROR_INVALID_CONTEXT;  // destroyed by another thread meanwhile
      client.contexts().add(*context, {*ordinal, 0, false, green});
      return CUDA_SUCCESS;
    });
  }
};

// What was allocated or loaded under it is the primary context's and stays.
template <>
struct Around<row::cuGreenCtxDestroy> {
  static CUresult call(CUgreenCtx green) {
    return with_client([&](Client& client) {
      Ending ending(client);
      CUresult destroyed = ending.of(api::call<row::cuGreenCtxDestroy>(green));
      if (!ending.is_over()) return destroyed;
      CUcontext view = client.contexts().drop_green(green);
      if (view == nullptr) return destroyed;
      auto& stack = client.this_thread().stack;
      if (!stack.empty() && stack.back() == view) stack.pop_back();
      const bool is_below = std::find(stack.begin(), stack.end(), view) != stack.end();
      client.contexts().drop(view, is_below || client.has_threads());
      client.completions().forget_all();
      return destroyed;
    });
  }
};

// Such a record is of no one stream: whether it is done only the server can tell.
template <>
struct Around<row::cuCtxRecordEvent> {
  static CUresult call(CUcontext context, CUevent event) {
    return with_client([&](Client& client) {
      client.completions().kept_by_graph(event);
      return api::call<row::cuCtxRecordEvent>(context, event);
    });
  }
};

template <>
struct Around<row::cuGreenCtxRecordEvent> {
  static CUresult call(CUgreenCtx green, CUevent event) {
    return with_client([&](Client& client) {
      client.completions().kept_by_graph(event);
      return api::call<row::cuGreenCtxRecordEvent>(green, event);
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
