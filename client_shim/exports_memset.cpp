#define FARCALL_FAMILY "transport/api/families/memset.def"
#include "client_shim/around.h"
#include "client_shim/copy.h"

namespace farcall::shim {
namespace row = api::row;

// Fills of `count` elements, judged here because they are posted: see judge_device. The
// two-dimensional ones are left to the driver.
template <class Row, class Value, class... Rest>
CUresult fill(CUdeviceptr at, Value value, std::size_t count, Rest... rest) {
  return with_client([&](Client& client) {
    std::size_t bytes = 0;
    if (at % sizeof value != 0) return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(count, sizeof value, &bytes)) return CUDA_ERROR_INVALID_VALUE;
    bool known = false;
    CUresult bad = judge_device(client, at, bytes, &known);
    if (bad != CUDA_SUCCESS) return bad;
    bool mirrored = false;
    bad = lend_range(client, at, bytes, true, &mirrored);
    if (bad != CUDA_SUCCESS) return bad;
    AskInstead unless_known(client.this_thread(), !known);
    CUresult filled = api::call<Row>(at, value, count, rest...);
    // CUDA: a fill of unified memory is done when it returns.
    const bool waits = sizeof...(rest) == 0 && mirrored && filled == CUDA_SUCCESS;
    return waits ? cuStreamSynchronize(CU_STREAM_LEGACY) : filled;
  });
}

#define FARCALL_FILL(NAME, VALUE)                                          \
  template <>                                                              \
  struct Around<row::NAME> {                                               \
    static CUresult call(CUdeviceptr at, VALUE value, std::size_t count) { \
      return fill<row::NAME>(at, value, count);                            \
    }                                                                      \
  };
#define FARCALL_FILL_ASYNC(NAME, VALUE)                                                     \
  template <>                                                                               \
  struct Around<row::NAME> {                                                                \
    static CUresult call(CUdeviceptr at, VALUE value, std::size_t count, CUstream stream) { \
      return fill<row::NAME>(at, value, count, stream);                                     \
    }                                                                                       \
  };
FARCALL_FILL(cuMemsetD8_v2, unsigned char)
FARCALL_FILL(cuMemsetD16_v2, unsigned short)
FARCALL_FILL(cuMemsetD32_v2, unsigned)
FARCALL_FILL_ASYNC(cuMemsetD8Async, unsigned char)
FARCALL_FILL_ASYNC(cuMemsetD16Async, unsigned short)
FARCALL_FILL_ASYNC(cuMemsetD32Async, unsigned)
#undef FARCALL_FILL
#undef FARCALL_FILL_ASYNC

}  // namespace farcall::shim

#include "transport/api/exports.inc"
