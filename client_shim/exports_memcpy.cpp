#define FARCALL_FAMILY "transport/api/families/memcpy.def"
#include "client_shim/around.h"
#include "client_shim/copy.h"

namespace farcall::shim {
namespace row = api::row;

// Judged here, because they are posted: see judge_device.
// Of mirrored memory the synchronous form is done when it returns, as CUDA has it for unified
// memory.
template <class Row, class... Rest>
CUresult copy_on_device(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, Rest... rest) {
  return with_client([&](Client& client) {
    bool to_known = false;
    bool from_known = false;
    CUresult bad = judge_device(client, to, bytes, &to_known);
    if (bad == CUDA_SUCCESS) bad = judge_device(client, from, bytes, &from_known);
    if (bad != CUDA_SUCCESS) return bad;
    bool mirrored = false;
    bad = lend_range(client, from, bytes, false, &mirrored);
    if (bad == CUDA_SUCCESS) bad = lend_range(client, to, bytes, true, &mirrored);
    if (bad != CUDA_SUCCESS) return bad;
    AskInstead unless_known(client.this_thread(), !to_known || !from_known);
    CUresult copied = api::call<Row>(to, from, bytes, rest...);
    const bool waits = sizeof...(rest) == 0 && mirrored && copied == CUDA_SUCCESS;
    return waits ? cuStreamSynchronize(CU_STREAM_LEGACY) : copied;
  });
}

template <>
struct Around<row::cuMemcpyDtoD_v2> {
  static CUresult call(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
    return copy_on_device<row::cuMemcpyDtoD_v2>(to, from, bytes);
  }
};

template <>
struct Around<row::cuMemcpyDtoDAsync_v2> {
  static CUresult call(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
    return copy_on_device<row::cuMemcpyDtoDAsync_v2>(to, from, bytes, stream);
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
