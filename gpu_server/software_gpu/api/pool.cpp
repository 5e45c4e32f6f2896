// Stream-ordered memory and its pools.
// Source: CUDA Driver API 13.0, Stream Ordered Memory Allocator.
//
// An allocation is ready at once, which satisfies every order a stream could ask for; a free takes
// its turn in the stream. Pools hold no memory back.
#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_work.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

CUresult find_pool(CUmemoryPool handle, std::shared_ptr<Pool>* pool) {
  if (CUresult failed = require_driver()) return failed;
  *pool = driver().pools.find(handle);
  return *pool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult allocate_from(const std::shared_ptr<Pool>& pool, Stream& stream, std::size_t bytes,
                       CUdeviceptr* address) {
  if (address == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (capturing(stream)) {
    CUDA_MEM_ALLOC_NODE_PARAMS params{};
    params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    params.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    params.poolProps.location.id = pool->device.ordinal();
    params.bytesize = bytes;
    Work work;
    if (CUresult failed = allocation_work(params, &work)) return failed;
    const CUresult queued = queue(stream, std::move(work), CU_GRAPH_NODE_TYPE_MEM_ALLOC);
    if (queued == CUDA_SUCCESS) *address = params.dptr;
    return queued;
  }
  if (&pool->device != &stream.context().device()) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult no = forbid_legacy(stream)) return no;
  if (CUresult failed =
          allocate(stream.context().home(), bytes, MemoryKind::kPooled, 0, address, pool)) {
    return failed;
  }
  const std::uint64_t used = driver().addresses.pooled_bytes(pool.get());
  std::uint64_t high = pool->used_high;
  while (used > high && !pool->used_high.compare_exchange_weak(high, used)) {
  }
  return CUDA_SUCCESS;
}

CUresult location_device(const CUmemLocation* location, Device** device) {
  if (CUresult failed = require_driver()) return failed;
  if (location == nullptr || location->type != CU_MEM_LOCATION_TYPE_DEVICE) {
    return location == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_SUPPORTED;
  }
  *device = driver().device(location->id);
  return *device == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuMemAllocAsync(CUdeviceptr* dptr, size_t bytesize, CUstream hStream) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  return allocate_from(stream->context().device().pool(), *stream, bytesize, dptr);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* dptr, size_t bytesize, CUmemoryPool pool,
                                 CUstream hStream) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(pool, &found)) return failed;
  return allocate_from(found, *stream, bytesize, dptr);
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (capturing(*stream)) {
    Work work;
    if (CUresult failed = free_work(dptr, &work)) return failed;
    return queue(*stream, std::move(work), CU_GRAPH_NODE_TYPE_MEM_FREE);
  }
  if (CUresult no = forbid_legacy(*stream)) return no;
  if (dptr == 0) return CUDA_SUCCESS;
  if (GraphMemory::is_known(dptr)) {
    auto ended = GraphMemory::end(dptr);
    if (!ended) return CUDA_ERROR_INVALID_VALUE;
    Work work;
    work.run = [held = std::move(ended)] {};  // until its turn
    work.even_if_broken = true;
    stream->context().submit(*stream, std::move(work));
    return CUDA_SUCCESS;
  }
  auto known = driver().addresses.find(dptr);
  const bool ours = known && known->base == dptr &&
                    (known->kind == MemoryKind::kPooled || known->kind == MemoryKind::kDevice);
  if (!ours) return CUDA_ERROR_INVALID_VALUE;
  // Out of the book now, so that freeing it twice is an error at once; back to the device in turn,
  // after a fault too.
  auto taken = driver().addresses.remove(dptr);
  if (!taken) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  work.run = [allocation = *taken] { give_back(allocation); };
  work.even_if_broken = true;
  stream->context().submit(*stream, std::move(work));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool_out, CUdevice dev) {
  if (CUresult failed = require_driver()) return failed;
  Device* device = driver().device(dev);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (pool_out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pool_out = device->default_pool()->handle();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice dev) {
  if (CUresult failed = require_driver()) return failed;
  Device* device = driver().device(dev);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (pool == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pool = device->pool()->handle();
  return CUDA_SUCCESS;
}

CUresult cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool) {
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(pool, &found)) return failed;
  Device* device = driver().device(dev);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (&found->device != device) return CUDA_ERROR_INVALID_VALUE;
  device->set_pool(std::move(found));
  return CUDA_SUCCESS;
}

CUresult cuMemGetDefaultMemPool(CUmemoryPool* pool_out, CUmemLocation* location,
                                CUmemAllocationType type) {
  Device* device = nullptr;
  if (CUresult failed = location_device(location, &device)) return failed;
  if (type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_NOT_SUPPORTED;
  return cuDeviceGetDefaultMemPool(pool_out, device->ordinal());
}

CUresult cuMemGetMemPool(CUmemoryPool* pool, CUmemLocation* location, CUmemAllocationType type) {
  Device* device = nullptr;
  if (CUresult failed = location_device(location, &device)) return failed;
  if (type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_NOT_SUPPORTED;
  return cuDeviceGetMemPool(pool, device->ordinal());
}

CUresult cuMemSetMemPool(CUmemLocation* location, CUmemAllocationType type, CUmemoryPool pool) {
  Device* device = nullptr;
  if (CUresult failed = location_device(location, &device)) return failed;
  if (type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_NOT_SUPPORTED;
  return cuDeviceSetMemPool(device->ordinal(), pool);
}

CUresult cuMemPoolCreate(CUmemoryPool* pool, const CUmemPoolProps* poolProps) {
  if (CUresult failed = require_driver()) return failed;
  if (pool == nullptr || poolProps == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (poolProps->allocType != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  if (poolProps->handleTypes != CU_MEM_HANDLE_TYPE_NONE) return CUDA_ERROR_NOT_SUPPORTED;
  Device* device = nullptr;
  if (CUresult failed = location_device(&poolProps->location, &device)) return failed;
  *pool = driver().pools.add<CUmemoryPool>(std::make_shared<Pool>(*device));
  return CUDA_SUCCESS;
}

CUresult cuMemPoolDestroy(CUmemoryPool pool) {
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(pool, &found)) return failed;
  Device& device = found->device;
  if (found == device.default_pool()) return CUDA_ERROR_INVALID_VALUE;
  driver().pools.remove(pool);
  if (device.pool() == found) device.set_pool(device.default_pool());
  return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t) {
  std::shared_ptr<Pool> found;
  return find_pool(pool, &found);
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void* value) {
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(pool, &found)) return failed;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  switch (attr) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      found->release_threshold = *static_cast<cuuint64_t*>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
      found->reuse_follow_event = *static_cast<int*>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
      found->reuse_opportunistic = *static_cast<int*>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      found->reuse_internal = *static_cast<int*>(value);
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      if (*static_cast<cuuint64_t*>(value) != 0) return CUDA_ERROR_INVALID_VALUE;
      found->used_high = driver().addresses.pooled_bytes(found.get());
      return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void* value) {
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(pool, &found)) return failed;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto* number = static_cast<cuuint64_t*>(value);
  switch (attr) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *number = found->release_threshold; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      *number = driver().addresses.pooled_bytes(found.get());
      break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: *number = found->used_high; break;
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
      *static_cast<int*>(value) = found->reuse_follow_event;
      break;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
      *static_cast<int*>(value) = found->reuse_opportunistic;
      break;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      *static_cast<int*>(value) = found->reuse_internal;
      break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc* map, size_t count) {
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(pool, &found)) return failed;
  if (map == nullptr && count != 0) return CUDA_ERROR_INVALID_VALUE;
  // All of it is checked before any of it is done.
  Device* device = nullptr;
  for (size_t i = 0; i < count; ++i) {
    if (CUresult failed = location_device(&map[i].location, &device)) return failed;
    const auto access = map[i].flags;
    const bool known = access == CU_MEM_ACCESS_FLAGS_PROT_NONE ||
                       access == CU_MEM_ACCESS_FLAGS_PROT_READ ||
                       access == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    if (!known) return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; i < count; ++i) {
    if (CUresult failed = location_device(&map[i].location, &device)) return failed;
    if (device != &found->device) found->set_access(*device, map[i].flags);
  }
  return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool memPool,
                            CUmemLocation* location) {
  std::shared_ptr<Pool> found;
  if (CUresult failed = find_pool(memPool, &found)) return failed;
  Device* device = nullptr;
  if (CUresult failed = location_device(location, &device)) return failed;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = found->access(*device);
  return CUDA_SUCCESS;
}
}
