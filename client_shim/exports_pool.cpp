#define FARCALL_FAMILY "transport/api/families/pool.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuMemAllocAsync> {
  static CUresult call(CUdeviceptr* address, std::size_t bytes, CUstream stream) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuMemAllocAsync>(address, bytes, stream);
      if (made == CUDA_SUCCESS) client.remember(Memory::kPool, *address, bytes);
      return made;
    });
  }
};

template <>
struct Around<row::cuMemAllocFromPoolAsync> {
  static CUresult call(CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool,
                       CUstream stream) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuMemAllocFromPoolAsync>(address, bytes, pool, stream);
      if (made == CUDA_SUCCESS) client.remember(Memory::kPool, *address, bytes);
      return made;
    });
  }
};

template <>
struct Around<row::cuMemFreeAsync> {
  static CUresult call(CUdeviceptr address, CUstream stream) {
    return with_client([&](Client& client) {
      if (address == 0) return CUDA_SUCCESS;
      // An address that a graph allocated is not in the map: the driver judges it.
      auto taken = client.allocations().take_device(address);
      Ending ending(client);
      CUresult freed = ending.of(api::call<row::cuMemFreeAsync>(address, stream));
      if (!ending.is_over() && taken) client.allocations().restore_device(*taken);
      return freed;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
