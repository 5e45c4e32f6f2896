// Memory pools and allocation in stream order.
#include <cstdint>

#include "tests/parity/setup.h"

using namespace parity;

BODY(pool_wrong) {
  Primary primary;
  CUmemoryPool pool = nullptr;
  CUmemPoolProps properties{};
  CALL(cuMemPoolCreate, &pool, &properties);
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 99};
  CALL(cuMemPoolCreate, &pool, &properties);
  properties.location.id = 0;
  CALL(cuMemPoolCreate, nullptr, &properties);
  CALL(cuMemPoolCreate, &pool, nullptr);
  CALL(cuMemPoolCreate, &pool, &properties);
  cuuint64_t is = 77;
  int flag = 77;
  CALL(cuMemPoolGetAttribute, pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &is);
  VALUE("threshold", static_cast<long long>(is));
  is = 4096;
  CALL(cuMemPoolSetAttribute, pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &is);
  is = 0;
  CALL(cuMemPoolGetAttribute, pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &is);
  VALUE("threshold", static_cast<long long>(is));
  CALL(cuMemPoolGetAttribute, pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &flag);
  VALUE("reuse", flag);
  CALL(cuMemPoolGetAttribute, pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &is);
  VALUE("used", static_cast<long long>(is));
  CALL(cuMemPoolSetAttribute, pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &is);
  CALL(cuMemPoolGetAttribute, pool, number<CUmemPool_attribute>(99), &is);
  CALL(cuMemPoolGetAttribute, pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, nullptr);
  CALL(cuMemPoolGetAttribute, nullptr, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &is);
  CALL(cuMemPoolTrimTo, pool, 0);
  CALL(cuMemPoolTrimTo, nullptr, 0);
  CUmemAccess_flags access{};
  CUmemLocation here{CU_MEM_LOCATION_TYPE_DEVICE, 0};
  CALL(cuMemPoolGetAccess, &access, pool, &here);
  VALUE("access", access);
  CUmemAccessDesc wanted{here, CU_MEM_ACCESS_FLAGS_PROT_NONE};
  CALL(cuMemPoolSetAccess, pool, &wanted, 1);
  CALL(cuMemPoolSetAccess, pool, nullptr, 1);
  CALL(cuMemPoolDestroy, pool);
  CALL(cuMemPoolDestroy, nullptr);
  CALL(cuDeviceGetDefaultMemPool, &pool, 0);
  CALL(cuDeviceGetDefaultMemPool, &pool, 99);
  CALL(cuDeviceGetDefaultMemPool, nullptr, 0);
  // "Destroying the current mempool of a device sets the default mempool"; the default cannot be.
  CALL(cuMemPoolDestroy, pool);
  CALL(cuDeviceSetMemPool, 0, nullptr);
  CALL(cuDeviceSetMemPool, 0, pool);
}

BODY(pool_allocations) {
  Primary primary;
  const CUstream stream = new_stream();
  CUdeviceptr p = 77;
  CALL(cuMemAllocAsync, &p, 0, stream);
  CALL(cuMemAllocAsync, nullptr, 64, stream);
  CALL(cuMemAllocAsync, &p, 1UL << 50, stream);
  CALL(cuMemAllocAsync, &p, SIZE_MAX, stream);
  CALL(cuMemAllocAsync, &p, 1000, stream);
  CALL(cuMemsetD8Async, p, 3, 1000, stream);
  CALL(cuMemsetD8Async, p, 3, 1001, stream);
  CALL(cuMemFreeAsync, p + 1, stream);
  CALL(cuMemFreeAsync, p, stream);
  CALL(cuMemFreeAsync, p, stream);
  CALL(cuMemFreeAsync, 0, stream);
  CALL(cuStreamSynchronize, stream);
  CALL(cuMemAllocAsync, &p, 1000, stream);
  CALL(cuStreamSynchronize, stream);
  CALL(cuMemFree_v2, p);
  CALL(cuMemAlloc_v2, &p, 1000);
  CALL(cuMemFreeAsync, p, stream);
  CALL(cuMemAllocFromPoolAsync, &p, 1000, nullptr, stream);
  CALL(cuStreamSynchronize, stream);
}
