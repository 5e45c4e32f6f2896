#define FARCALL_FAMILY "transport/api/families/pool.def"
#include "client_shim/around.h"
#include "client_shim/capture_info.h"
#include "client_shim/ending.h"

namespace farcall::shim {
namespace row = api::row;
namespace {

// In a capture it is a node of the graph that allocates, at each launch.
void remember(Client& client, CUdeviceptr address, std::size_t bytes, CUstream stream) {
  CaptureInfo info;
  const bool may_be_captured = client.completions().is_capturing();
  if (may_be_captured && capture_info(client, stream, &info) == CUDA_SUCCESS && info.is_active()) {
    return client.remember_graph_memory(address, bytes);
  }
  client.remember(Memory::kPool, address, bytes);
}

}  // namespace

template <>
struct Around<row::cuMemAllocAsync> {
  static CUresult call(CUdeviceptr* address, std::size_t bytes, CUstream stream) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuMemAllocAsync>(address, bytes, stream);
      if (made == CUDA_SUCCESS) remember(client, *address, bytes, stream);
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
      if (made == CUDA_SUCCESS) remember(client, *address, bytes, stream);
      return made;
    });
  }
};

template <>
struct Around<row::cuMemFreeAsync> {
  static CUresult call(CUdeviceptr address, CUstream stream) {
    return with_client([&](Client& client) {
      if (address == 0) return CUDA_SUCCESS;
      auto known = client.allocations().find_device(address);
      if (known && known->is_of_graph()) return api::call<row::cuMemFreeAsync>(address, stream);
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
