#define FARCALL_FAMILY "transport/api/families/memory.def"
#include "client_shim/around.h"
#include "client_shim/ending.h"
#include "client_shim/mirrored.h"

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
struct Around<row::cuMemAllocManaged> {
  static CUresult call(CUdeviceptr* address, std::size_t bytes, unsigned flags) {
    return with_client([&](Client& client) {
      if (address == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
      if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      Mirrors::Place place;
      if (flags == CU_MEM_ATTACH_HOST) place.access = Mirrors::Access::kHost;
      CUdeviceptr at = 0;
      CUresult made = allocate_mirrored(client, bytes, place, &at);
      if (made != CUDA_SUCCESS) return made;
      client.remember(Memory::kManaged, at, bytes);
      *address = at;
      return CUDA_SUCCESS;
    });
  }
};

// To this process: when the stream has got there. To a device: it goes now, and the driver may move
// it nearer in the stream's order.
template <>
struct Around<row::cuMemPrefetchAsync_v2> {
  static CUresult call(CUdeviceptr at, std::size_t bytes, CUmemLocation location, unsigned flags,
                       CUstream stream) {
    return with_client([&](Client& client) {
      auto found = client.allocations().find_device(at);
      if (!found || found->memory != Memory::kManaged || bytes == 0 || flags != 0 ||
          !found->holds(at, bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      const bool on_device = location.type == CU_MEM_LOCATION_TYPE_DEVICE;
      if (location.type == CU_MEM_LOCATION_TYPE_INVALID) return CUDA_ERROR_INVALID_VALUE;
      if (on_device && client.snapshot().device(location.id) == nullptr) {
        return CUDA_ERROR_INVALID_DEVICE;
      }
      // CUDA's answer for a device that cannot share managed memory with what else may use it.
      const auto place = on_device ? client.visible().place(location.id) : std::nullopt;
      if (place && place->server != static_cast<int>(client.number())) {
        return CUDA_ERROR_INVALID_DEVICE;
      }
      client.range_facts().prefetched({at, bytes}, location);
      if (on_device) {
        CUresult lent = client.mirrors().lend_range(at, bytes, false);
        if (lent != CUDA_SUCCESS) return lent;
        return api::call<row::cuMemPrefetchAsync_v2>(at, bytes, location, flags, stream);
      }
      CUresult waited = cuStreamSynchronize(stream);
      return waited == CUDA_SUCCESS ? client.mirrors().fetch(at, bytes) : waited;
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
      if (!known || known->address != address || known->memory == Memory::kGlobal ||
          (known->owner != 0 && !known->is_of_graph())) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      if (known->is_of_graph()) return api::call<row::cuMemFree_v2>(address);
      // Forgotten before it is freed: afterwards another thread may be given the same address.
      auto taken = client.allocations().take_device(address);
      Ending ending(client);
      const bool is_managed = known->memory == Memory::kManaged;
      const CUdeviceptr base = is_managed ? client.mirrors().base_of(address) : address;
      CUresult freed = ending.of(api::call<row::cuMemFree_v2>(base));
      if (!ending.is_over() && taken) client.allocations().restore_device(*taken);
      if (ending.is_over() && is_managed) {
        client.mirrors().remove(address);
        client.range_facts().forget({address, known->bytes});
      }
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
