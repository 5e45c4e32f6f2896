#define FARCALL_FAMILY "transport/api/families/stream.def"
#include <utility>

#include "client_shim/around.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuThreadExchangeStreamCaptureMode> {
  static CUresult call(CUstreamCaptureMode* mode) {
    return answer("cuThreadExchangeStreamCaptureMode", [&](Client& client) {
      if (mode == nullptr || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
          *mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      *mode = std::exchange(client.this_thread().capture_mode, *mode);
      return CUDA_SUCCESS;
    });
  }
};

// While something is captured, what a capture refuses is asked for, so that the program hears of it
// at the call.
template <class Row>
struct BeginsCapture {
  template <class... A>
  static CUresult call(A... arguments) {
    CUresult result = api::call<Row>(arguments...);
    Client* client = current_client();
    if (result == CUDA_SUCCESS && client != nullptr) client->captures().begin();
    return result;
  }
};
template <>
struct Around<row::cuStreamBeginCapture_v2> : BeginsCapture<row::cuStreamBeginCapture_v2> {};
template <>
struct Around<row::cuStreamBeginCaptureToGraph> : BeginsCapture<row::cuStreamBeginCaptureToGraph> {
};

// A capture ends also when its end says that it went wrong.
template <>
struct Around<row::cuStreamEndCapture> {
  static CUresult call(CUstream stream, CUgraph* graph) {
    CUresult result = api::call<row::cuStreamEndCapture>(stream, graph);
    if (Client* client = current_client()) client->captures().end();
    return result;
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
