// Pointer attributes, answered from the allocation map.
#include <cstring>
#include <optional>

#include "client_shim/entry.h"

using farcall::shim::Allocation;
using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Memory;

namespace {

template <class T>
CUresult store(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
  return CUDA_SUCCESS;
}

// What is asked of an address that is nothing to CUDA.
CUresult unknown_pointer(void* data, CUpointer_attribute attribute) {
  if (attribute == CU_POINTER_ATTRIBUTE_MAPPED) return store(data, 0);
  return CUDA_ERROR_INVALID_VALUE;
}

bool is_reachable(Client& client, const Allocation& host) {
  const auto* device = client.snapshot().device(host.ordinal);
  return host.memory == Memory::kHost && !host.is_out_of_reach && device != nullptr &&
         device->attribute_or(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 0) != 0;
}

CUresult one(Client& client, void* data, CUpointer_attribute attribute, const Allocation& found,
             std::uint64_t pointer) {
  bool device = found.is_device();
  bool managed = found.memory == Memory::kManaged;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: return store(data, found.context);
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return store(data, device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      if (!device) {
        auto mapped = client.mirrors().find(pointer, 1);
        if (mapped) return store(data, CUdeviceptr{mapped->device});
        // A kernel that is given it by its address finds it there.
        return is_reachable(client, found) ? store(data, CUdeviceptr{pointer})
                                           : CUDA_ERROR_INVALID_VALUE;
      }
      return store(data, CUdeviceptr{pointer});
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (device && !managed) return CUDA_ERROR_INVALID_VALUE;
      return store(data, pointer);
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: return store(data, 0U);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      return store(data, static_cast<unsigned long long>(found.buffer_id));
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: return store(data, managed ? 1U : 0U);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: return store(data, found.ordinal);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: return store(data, 0U);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return store(data, found.address);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return store(data, std::size_t{found.bytes});
    case CU_POINTER_ATTRIBUTE_MAPPED: return store(data, 1U);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: return store(data, std::uint64_t{0});
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: return store(data, 0U);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return store(data, CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: return store(data, static_cast<void*>(nullptr));
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE: return store(data, std::size_t{found.bytes});
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: return store(data, found.address);
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
      return store(data, static_cast<unsigned long long>(found.buffer_id));
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

// cuPointerGetAttributes answers for any address: what cannot be said is zero.
void one_or_zero(Client& client, void* data, CUpointer_attribute attribute, const Allocation* found,
                 std::uint64_t pointer) {
  if (found != nullptr && one(client, data, attribute, *found, pointer) == CUDA_SUCCESS) return;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: store(data, -2); return;  // CU_DEVICE_INVALID
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: store(data, 0); return;
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return;
    default: store(data, std::uint64_t{0}); return;
  }
}

// What is known of an address. One of the device's that stands for registered memory is that
// memory's, and the question goes to where the program has it.
std::optional<Allocation> find(Client& client, CUdeviceptr* pointer) {
  auto found = client.allocations().find(*pointer);
  if (!found || found->host == 0) return found;
  *pointer = found->host + (*pointer - found->address);
  return client.allocations().find_host(*pointer);
}

}  // namespace

FARCALL_EXPORT cuPointerGetAttribute(void* data, CUpointer_attribute attribute,
                                     CUdeviceptr pointer) {
  return answer("cuPointerGetAttribute", [&](Client& client) {
    const CUresult fault = client.contexts().fault(client.this_thread().current());
    if (fault != CUDA_SUCCESS) return fault;
    if (data == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto found = find(client, &pointer);
    return found ? one(client, data, attribute, *found, pointer) : unknown_pointer(data, attribute);
  });
}

FARCALL_EXPORT cuPointerGetAttributes(unsigned int count, CUpointer_attribute* attributes,
                                      void** data, CUdeviceptr pointer) {
  return answer("cuPointerGetAttributes", [&](Client& client) {
    if (attributes == nullptr || data == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
    auto found = find(client, &pointer);
    for (unsigned i = 0; i < count; ++i) {
      if (data[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
      one_or_zero(client, data[i], attributes[i], found ? &*found : nullptr, pointer);
    }
    return CUDA_SUCCESS;
  });
}
