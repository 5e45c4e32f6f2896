// Managed memory: advice and prefetches, about where pages live, and there is one place.
// Source: CUDA Driver API 13.0, Unified Addressing and Memory Management.
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/managed_facts.h"

using namespace farcall::softgpu;
using farcall::cuda::is_host;
using farcall::cuda::location_of;

namespace {

bool is_managed(CUdeviceptr address, std::size_t bytes) {
  auto known = driver().addresses.find(address);
  return known && known->kind == MemoryKind::kManaged && bytes != 0 &&
         bytes <= known->bytes - (address - known->base);
}

CUresult require_managed(CUdeviceptr address, std::size_t bytes) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  return is_managed(address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

extern "C" {

CUresult cuMemAdvise_v2(CUdeviceptr devPtr, size_t count, CUmem_advise advice,
                        CUmemLocation location) {
  if (CUresult failed = require_managed(devPtr, count)) return failed;
  return managed_facts().advise({devPtr, count}, advice, location, driver().device_count());
}

CUresult cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device) {
  return cuMemAdvise_v2(devPtr, count, advice, location_of(device));
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr devPtr, size_t count, CUmemLocation location,
                               unsigned flags, CUstream hStream) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (flags != 0 || !is_managed(devPtr, count)) return CUDA_ERROR_INVALID_VALUE;
  const bool on_device = location.type == CU_MEM_LOCATION_TYPE_DEVICE;
  if (!on_device && !is_host(location)) return CUDA_ERROR_INVALID_VALUE;
  if (on_device && driver().device(location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  managed_facts().prefetched({devPtr, count}, location);
  return CUDA_SUCCESS;
}

CUresult cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUdevice device, CUstream hStream) {
  return cuMemPrefetchAsync_v2(devPtr, count, location_of(device), 0, hStream);
}

CUresult cuMemRangeGetAttribute(void* data, size_t dataSize, CUmem_range_attribute attribute,
                                CUdeviceptr devPtr, size_t count) {
  if (CUresult failed = require_managed(devPtr, count)) return failed;
  return managed_facts().attribute({devPtr, count}, attribute, data, dataSize);
}

CUresult cuMemRangeGetAttributes(void** data, size_t* dataSizes, CUmem_range_attribute* attributes,
                                 size_t numAttributes, CUdeviceptr devPtr, size_t count) {
  if (CUresult failed = require_managed(devPtr, count)) return failed;
  if (data == nullptr || dataSizes == nullptr || attributes == nullptr || numAttributes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < numAttributes; ++i) {
    CUresult told =
        managed_facts().attribute({devPtr, count}, attributes[i], data[i], dataSizes[i]);
    if (told != CUDA_SUCCESS) return told;
  }
  return CUDA_SUCCESS;
}

CUresult cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t, unsigned) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  return is_managed(dptr, 1) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
}
