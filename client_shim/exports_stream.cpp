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

}  // namespace farcall::shim

#include "transport/api/exports.inc"
