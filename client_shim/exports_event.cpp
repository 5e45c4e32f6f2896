#define FARCALL_FAMILY "transport/api/families/event.def"
#include "client_shim/around.h"
#include "client_shim/known_waits.h"

namespace farcall::shim {
namespace row = api::row;
namespace {

template <class Row, class... A>
CUresult record(CUevent event, CUstream stream, A... flags) {
  return with_client([&](Client& client) {
    Completions& completions = client.completions();
    const bool was_capturing = completions.is_capturing();
    const std::uint64_t before = completions.work();
    CUresult recorded = api::call<Row>(event, stream, flags...);
    if (recorded != CUDA_SUCCESS) return recorded;
    ThreadState& thread = client.this_thread();
    if (was_capturing || completions.is_capturing()) {
      completions.kept_by_graph(event);
    } else {
      auto place = WorkPlace::of(thread.current(), stream, thread.number);
      completions.recorded(event, place, {thread.last_call, before});
    }
    return CUDA_SUCCESS;
  });
}

}  // namespace

// Judged here because it is posted.
template <>
struct Around<row::cuEventCreate> {
  static CUresult call(CUevent* event, unsigned flags) {
    constexpr unsigned kKnown =
        CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
    const bool is_shared = (flags & CU_EVENT_INTERPROCESS) != 0;
    const bool is_timed = (flags & CU_EVENT_DISABLE_TIMING) == 0;
    if ((flags & ~kKnown) != 0 || (is_shared && is_timed)) return CUDA_ERROR_INVALID_VALUE;
    return api::call<row::cuEventCreate>(event, flags);
  }
};

template <>
struct Around<row::cuEventRecord> {
  static CUresult call(CUevent event, CUstream stream) {
    return record<row::cuEventRecord>(event, stream);
  }
};

template <>
struct Around<row::cuEventRecordWithFlags> {
  static CUresult call(CUevent event, CUstream stream, unsigned flags) {
    // Judged here because it is posted: such a record is a graph's node and nothing else.
    Client* client = ready_client();
    if (flags == CU_EVENT_RECORD_EXTERNAL && client != nullptr &&
        !client->completions().is_capturing()) {
      return CUDA_ERROR_ILLEGAL_STATE;
    }
    return record<row::cuEventRecordWithFlags>(event, stream, flags);
  }
};

template <>
struct Around<row::cuEventQuery> {
  static CUresult call(CUevent event) {
    return with_client([&](Client& client) { return wait_for<row::cuEventQuery>(client, event); });
  }
};

template <>
struct Around<row::cuEventSynchronize> {
  static CUresult call(CUevent event) {
    return with_client(
        [&](Client& client) { return wait_for<row::cuEventSynchronize>(client, event); });
  }
};

template <>
struct Around<row::cuEventDestroy_v2> {
  static CUresult call(CUevent event) {
    return with_client([&](Client& client) {
      client.completions().destroyed(event);
      return api::call<row::cuEventDestroy_v2>(event);
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
