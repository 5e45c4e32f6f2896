#define FARCALL_FAMILY "transport/api/families/memory.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"

namespace farcall::shim {
namespace row = api::row;

template <>
struct Around<row::cuMemAlloc_v2> {
  static CUresult call(CUdeviceptr* address, std::size_t bytes) {
    return with_client([&](Client& client) {
      if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
      if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
      CUresult made = api::call<row::cuMemAlloc_v2>(address, bytes);
      if (made == CUDA_SUCCESS) client.remember(Memory::kDevice, *address, bytes);
      return made;
    });
  }
};

template <>
struct Around<row::cuMemAllocPitch_v2> {
  static CUresult call(CUdeviceptr* address, std::size_t* pitch, std::size_t width,
                       std::size_t height, unsigned element) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuMemAllocPitch_v2>(address, pitch, width, height, element);
      if (made == CUDA_SUCCESS) client.remember(Memory::kDevice, *address, *pitch * height);
      return made;
    });
  }
};

template <>
struct Around<row::cuMemFree_v2> {
  static CUresult call(CUdeviceptr address) {
    return with_client([&](Client& client) {
      if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
      if (address == 0) return CUDA_SUCCESS;
      auto known = client.allocations().find_device(address);
      if (!known || known->address != address || known->memory == Memory::kGlobal) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      if (known->is_of_graph()) return api::call<row::cuMemFree_v2>(address);
      // Forgotten before it is freed: afterwards another thread may be given the same address.
      auto taken = client.allocations().take_device(address);
      Ending ending(client);
      CUresult freed = ending.of(api::call<row::cuMemFree_v2>(address));
      if (!ending.is_over() && taken) client.allocations().restore_device(*taken);
      return freed;
    });
  }
};

template <>
struct Around<row::cuMemGetAddressRange_v2> {
  static CUresult call(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr address) {
    return with_client([&](Client& client) {
      if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
      auto known = client.allocations().find_device(address);
      if (!known) return api::call<row::cuMemGetAddressRange_v2>(base, bytes, address);
      client.stats().count(CallKind::kLocal, "cuMemGetAddressRange_v2");
      if (base != nullptr) *base = known->address;
      if (bytes != nullptr) *bytes = known->bytes;
      return CUDA_SUCCESS;
    });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
