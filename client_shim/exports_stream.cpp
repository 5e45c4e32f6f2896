#define FARCALL_FAMILY "transport/api/families/stream.def"
#include <utility>

#include "client_shim/around.h"
#include "client_shim/known_waits.h"

namespace farcall::shim {
namespace row = api::row;
namespace {

// "count must be less than 256" (cuda.h, cuStreamBatchMemOp).
constexpr unsigned kBatchMemOpsMax = 256;

template <class Row>
CUresult wait_for_stream(CUstream stream) {
  return with_client([&](Client& client) {
    ThreadState& thread = client.this_thread();
    auto place = WorkPlace::of(thread.current(), stream, thread.number);
    return wait_at<Row>(client, place, stream);
  });
}

template <class Row, class... A>
CUresult create(CUstream* stream, A... how) {
  return with_client([&](Client& client) {
    CUresult created = api::call<Row>(stream, how...);
    if (created == CUDA_SUCCESS) {
      client.completions().made(*stream, client.this_thread().current());
    }
    return created;
  });
}

template <class Row, class... A>
CUresult begin_capture(const Captures::Capture& capture, A... arguments) {
  if (!Captures::is_mode(capture.mode)) return CUDA_ERROR_INVALID_VALUE;
  return with_client([&](Client& client) {
    // Before it begins, so that no other thread's wait is answered here once it has. What a capture
    // refuses is asked for from now on, so that the program hears of it at the call.
    client.completions().capture_begins();
    CUresult begun = api::call<Row>(arguments...);
    if (begun != CUDA_SUCCESS) {
      client.completions().capture_ends();
      return begun;
    }
    Captures::Capture made = capture;
    made.client = &client;
    client.captures().begun(made);
    return begun;
  });
}

}  // namespace

template <>
struct Around<row::cuStreamCreate> {
  static CUresult call(CUstream* stream, unsigned flags) {
    if (flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    return create<row::cuStreamCreate>(stream, flags);
  }
};

template <>
struct Around<row::cuStreamCreateWithPriority> {
  static CUresult call(CUstream* stream, unsigned flags, int priority) {
    if (flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    return create<row::cuStreamCreateWithPriority>(stream, flags, priority);
  }
};

template <>
struct Around<row::cuStreamDestroy_v2> {
  static CUresult call(CUstream stream) {
    return with_client([&](Client& client) {
      client.completions().destroyed(stream);
      client.mirrors().stream_destroyed(stream);
      if (client.captures().any() && client.captures().ended(stream).client != nullptr) {
        client.completions().capture_ends();
      }
      return api::call<row::cuStreamDestroy_v2>(stream);
    });
  }
};

template <>
struct Around<row::cuStreamSynchronize> {
  static CUresult call(CUstream stream) {
    return wait_for_stream<row::cuStreamSynchronize>(stream);
  }
};

template <>
struct Around<row::cuStreamQuery> {
  static CUresult call(CUstream stream) { return wait_for_stream<row::cuStreamQuery>(stream); }
};

template <>
struct Around<row::cuStreamBeginCapture_v2> {
  static CUresult call(CUstream stream, CUstreamCaptureMode mode) {
    return begin_capture<row::cuStreamBeginCapture_v2>({nullptr, stream, mode}, stream, mode);
  }
};

template <>
struct Around<row::cuStreamBeginCaptureToGraph> {
  static CUresult call(CUstream stream, CUgraph graph, const CUgraphNode* after,
                       const CUgraphEdgeData* edges, std::size_t count, CUstreamCaptureMode mode) {
    const Captures::Capture capture{nullptr, stream, mode, false};
    return begin_capture<row::cuStreamBeginCaptureToGraph>(capture, stream, graph, after, edges,
                                                           count, mode);
  }
};

template <>
struct Around<row::cuStreamBatchMemOp_v2> {
  static CUresult call(CUstream stream, unsigned count, CUstreamBatchMemOpParams* operations,
                       unsigned flags) {
    // Before they are read: there may be fewer of them than a wrong count says.
    if (count >= kBatchMemOpsMax) return CUDA_ERROR_INVALID_VALUE;
    return api::call<row::cuStreamBatchMemOp_v2>(stream, count, operations, flags);
  }
};

template <>
struct Around<row::cuStreamEndCapture> {
  static CUresult call(CUstream stream, CUgraph* graph) {
    return with_client([&](Client& client) { return end_capture(client, stream, graph); });
  }
};

template <>
struct Around<row::cuThreadExchangeStreamCaptureMode> {
  static CUresult call(CUstreamCaptureMode* mode) {
    return answer("cuThreadExchangeStreamCaptureMode", [&](Client&) {
      if (mode == nullptr || !Captures::is_mode(*mode)) return CUDA_ERROR_INVALID_VALUE;
      *mode = Captures::exchange_mode(*mode);
      return CUDA_SUCCESS;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
