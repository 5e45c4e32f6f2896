// What a pointer is.
// Source: CUDA Driver API 13.0, Unified Addressing.
#include <cstring>

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

// A pointer the driver knows: from the book, or a module's global, which only Memory knows.
struct Known {
  Allocation allocation;
  Device* device = nullptr;
};

bool look_up(std::uint64_t address, Known* known) {
  if (auto hit = driver().addresses.find(address)) {
    known->allocation = *hit;
    known->device = &hit->context->device();
    return true;
  }
  for (int i = 0; i < driver().device_count(); ++i) {
    Device* device = driver().device(i);
    if (auto range = device->memory().find_own(address)) {
      if (auto home = driver().virtual_memory.device_of(address)) device = driver().device(*home);
      known->allocation.base = range->base;
      known->allocation.bytes = range->bytes;
      known->allocation.context = &device->primary();
      known->device = device;
      return true;
    }
  }
  return false;
}

template <class T>
CUresult answer(void* data, T value) {
  std::memcpy(data, &value, sizeof(value));
  return CUDA_SUCCESS;
}

CUresult attribute_of(const Known& known, std::uint64_t address, CUpointer_attribute which,
                      void* data) {
  const Allocation& found = known.allocation;
  switch (which) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: return answer(data, found.context->handle());
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return answer(
          data, static_cast<unsigned>(found.is_host() ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: return answer(data, CUdeviceptr{address});
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!found.is_host() && found.kind != MemoryKind::kManaged) return CUDA_ERROR_INVALID_VALUE;
      return answer(data, reinterpret_cast<void*>(address));
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: return answer(data, 0U);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: return answer(data, found.buffer_id);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      return answer(data, found.kind == MemoryKind::kManaged ? 1U : 0U);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: return answer(data, known.device->ordinal());
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return answer(data, CUdeviceptr{found.base});
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      return answer(data, static_cast<std::size_t>(found.bytes));
    case CU_POINTER_ATTRIBUTE_MAPPED: return answer(data, 1U);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: return answer(data, std::uint64_t{0});
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return answer(data, static_cast<unsigned>(CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE));
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: return answer(data, found.pool.get());
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      return answer(data, static_cast<std::size_t>(found.bytes));
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: return answer(data, CUdeviceptr{found.base});
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: return answer(data, found.buffer_id);
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

std::size_t attribute_bytes(CUpointer_attribute which) {
  switch (which) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: return 4;
    default: return 8;
  }
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr ptr) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Known known;
  if (!look_up(ptr, &known)) {
    // "1 if this pointer is in a valid address range …, 0 otherwise"
    return attribute == CU_POINTER_ATTRIBUTE_MAPPED ? answer(data, 0U) : CUDA_ERROR_INVALID_VALUE;
  }
  return attribute_of(known, ptr, attribute, data);
}

// Never fails for a pointer CUDA does not know: each answer is then a zero of its kind.
CUresult cuPointerGetAttributes(unsigned numAttributes, CUpointer_attribute* attributes,
                                void** data, CUdeviceptr ptr) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (attributes == nullptr || data == nullptr || numAttributes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Known known;
  const bool hit = look_up(ptr, &known);
  for (unsigned i = 0; i < numAttributes; ++i) {
    if (data[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (hit && attribute_of(known, ptr, attributes[i], data[i]) == CUDA_SUCCESS) continue;
    std::memset(data[i], 0, attribute_bytes(attributes[i]));
    if (attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) {
      constexpr int kNoDevice = -2;  // cudaInvalidDeviceId
      std::memcpy(data[i], &kNoDevice, sizeof(kNoDevice));
    }
  }
  return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void* value, CUpointer_attribute attribute, CUdeviceptr ptr) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  Known known;
  if (value == nullptr || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || !look_up(ptr, &known)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;  // synchronous operations always are
}
}
