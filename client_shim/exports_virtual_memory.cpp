#define FARCALL_FAMILY "transport/api/families/virtual_memory.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "client_shim/several_virtual.h"

namespace farcall::shim {
namespace row = api::row;

// Mapped ranges are entered as variables of nobody: known as device memory, not to be freed by
// cuMemFree, and gone with their unmapping only.
constexpr std::uint64_t kNobody = 0;

template <>
struct Around<row::cuMemMap> {
  static CUresult call(CUdeviceptr address, std::size_t bytes, std::size_t offset,
                       CUmemGenericAllocationHandle handle, unsigned long long flags) {
    return with_client([&](Client& client) {
      CUresult mapped = api::call<row::cuMemMap>(address, bytes, offset, handle, flags);
      if (mapped == CUDA_SUCCESS) client.remember_global(address, bytes, kNobody);
      return mapped;
    });
  }
};

template <>
struct Around<row::cuMemUnmap> {
  static CUresult call(CUdeviceptr address, std::size_t bytes) {
    return with_client([&](Client& client) {
      Ending ending(client);
      CUresult unmapped = ending.of(api::call<row::cuMemUnmap>(address, bytes));
      if (!ending.is_over()) return unmapped;
      // One unmapping may end several mappings that lie side by side.
      for (CUdeviceptr at = address; at - address < bytes;) {
        auto taken = client.allocations().take_device(at);
        if (!taken) break;
        at += taken->bytes;
      }
      return unmapped;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
