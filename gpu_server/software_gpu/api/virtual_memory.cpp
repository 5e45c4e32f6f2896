// Virtual memory management: reserve, create, map, allow.
// Source: CUDA Driver API 13.0, Virtual Memory Management.
#include "gpu_server/software_gpu/virtual_memory.h"

#include "gpu_server/software_gpu/driver.h"

using namespace farcall::softgpu;

namespace {

// Memory of a device, not to be shared with other processes.
CUresult check(const CUmemAllocationProp* properties) {
  if (properties == nullptr || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  if (driver().device(properties->location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  const bool shared = properties->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE;
  return shared ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

// A mapping that goes away is touched by nobody any more.
void wait_for_kernels() {
  for (int i = 0; i < driver().device_count(); ++i) driver().device(i)->primary().synchronize();
  Context* context = nullptr;
  if (require_context(&context) == CUDA_SUCCESS) context->synchronize();
}

}  // namespace

extern "C" {

CUresult cuMemGetAllocationGranularity(size_t* granularity, const CUmemAllocationProp* prop,
                                       CUmemAllocationGranularity_flags option) {
  if (CUresult failed = require_driver()) return failed;
  if (granularity == nullptr || (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM &&
                                 option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult bad = check(prop)) return bad;
  *granularity = VirtualMemory::kGranularity;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressReserve(CUdeviceptr* ptr, size_t size, size_t alignment, CUdeviceptr addr,
                             unsigned long long flags) {
  if (CUresult failed = require_driver()) return failed;
  if (ptr == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return driver().virtual_memory.reserve(size, alignment, addr, ptr);
}

CUresult cuMemAddressFree(CUdeviceptr ptr, size_t size) {
  if (CUresult failed = require_driver()) return failed;
  return driver().virtual_memory.release_range(ptr, size);
}

CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t size,
                     const CUmemAllocationProp* prop, unsigned long long flags) {
  if (CUresult failed = require_driver()) return failed;
  if (handle == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult bad = check(prop)) return bad;
  return driver().virtual_memory.create(prop->location.id, size, handle);
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  if (CUresult failed = require_driver()) return failed;
  return driver().virtual_memory.release(handle);
}

CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags) {
  if (CUresult failed = require_driver()) return failed;
  if (offset != 0 || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return driver().virtual_memory.map(ptr, size, handle);
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t size) {
  if (CUresult failed = require_driver()) return failed;
  wait_for_kernels();
  return driver().virtual_memory.unmap(ptr, size);
}

CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc* desc, size_t count) {
  if (CUresult failed = require_driver()) return failed;
  if (desc == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < count; ++i) {
    if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    if (driver().device(desc[i].location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    if (desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
        desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
        desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    CUresult set = driver().virtual_memory.allow(ptr, size, desc[i].location.id, desc[i].flags);
    if (set != CUDA_SUCCESS) return set;
  }
  return CUDA_SUCCESS;
}

CUresult cuMemGetAccess(unsigned long long* flags, const CUmemLocation* location, CUdeviceptr ptr) {
  if (CUresult failed = require_driver()) return failed;
  if (flags == nullptr || location == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (location->type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  if (driver().device(location->id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  return driver().virtual_memory.access_of(ptr, location->id, flags);
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* prop,
                                                CUmemGenericAllocationHandle handle) {
  if (CUresult failed = require_driver()) return failed;
  if (prop == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return driver().virtual_memory.properties(handle, prop);
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* addr) {
  if (CUresult failed = require_driver()) return failed;
  if (handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return driver().virtual_memory.retain(reinterpret_cast<CUdeviceptr>(addr), handle);
}
}
