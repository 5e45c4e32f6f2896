// MemoryDriver: a driver that hands out addresses and remembers how much, for tests of the ledger.
//
//   MemoryDriver fake;
//   api::Driver real = fake.table();
//   fake.pool_keeps = true;                       // its pool holds on to what was freed
//
// The functions are plain C functions, so there is one at a time.  Threads: one.
#pragma once
#include <cstdint>
#include <map>

#include "transport/api/driver.h"

namespace farcall::server {

class MemoryDriver {
 public:
  static constexpr std::size_t kTotalBytes = std::size_t{16} << 30;

  MemoryDriver() { self() = this; }
  ~MemoryDriver() { self() = nullptr; }
  MemoryDriver(const MemoryDriver&) = delete;
  MemoryDriver& operator=(const MemoryDriver&) = delete;

  api::Driver table();
  // Its context is current.
  void retain() { has_context = true; }
  void trim_pool() { pool_reserved = pool_live; }

  bool has_context = false;
  bool fails = false;             // everything that allocates or frees
  bool capturing = false;         // every stream is
  bool pool_keeps = false;        // what is freed stays reserved
  bool streams_are_busy = false;  // events do not come about
  bool graphs_are_busy = false;   // a trim finds nothing to give back
  int allocations = 0;
  int loads = 0;
  int launches = 0;
  std::uint64_t node_bytes = std::uint64_t{60} << 20;  // of the only node of every graph
  std::uint64_t pool_live = 0;
  std::uint64_t pool_reserved = 0;
  std::uint64_t graph_reserved = 0;
  std::uint64_t next_handle = 100;

 private:
  static MemoryDriver*& self() {
    static MemoryDriver* the_one = nullptr;
    return the_one;
  }
  template <class T>
  static CUresult make(T* object) {
    if (self()->fails) return CUDA_ERROR_UNKNOWN;
    ++self()->allocations;
    self()->next_ += 0x1000'0000;
    *object = (T)self()->next_;  // NOLINT: a number or an opaque pointer
    return CUDA_SUCCESS;
  }
  static CUresult allocate(CUdeviceptr* at, std::size_t bytes) {
    CUresult done = make(at);
    if (done == CUDA_SUCCESS) self()->plain_[*at] = bytes;
    return done;
  }
  static CUresult allocate_pooled(CUdeviceptr* at, std::size_t bytes) {
    CUresult done = make(at);
    if (done != CUDA_SUCCESS || self()->capturing) return done;
    self()->pooled_[*at] = bytes;
    self()->pool_live += bytes;
    if (self()->pool_reserved < self()->pool_live) self()->pool_reserved = self()->pool_live;
    return done;
  }
  static CUresult free(CUdeviceptr at) {
    if (self()->fails) return CUDA_ERROR_UNKNOWN;
    if (self()->plain_.erase(at) > 0) return CUDA_SUCCESS;
    auto found = self()->pooled_.find(at);
    if (found == self()->pooled_.end()) return CUDA_ERROR_INVALID_VALUE;
    self()->pool_live -= found->second;
    self()->pooled_.erase(found);
    if (!self()->pool_keeps) self()->trim_pool();
    return CUDA_SUCCESS;
  }
  void add_memory(api::Driver& driver);
  void add_virtual(api::Driver& driver);
  void add_graphs(api::Driver& driver);
  void add_contexts(api::Driver& driver);

  std::uint64_t next_ = 0x10'0000'0000;
  std::map<CUdeviceptr, std::size_t> plain_;
  std::map<CUdeviceptr, std::size_t> pooled_;
};

inline void MemoryDriver::add_contexts(api::Driver& driver) {
  driver.cuCtxGetCurrent = [](CUcontext* context) {
    *context = self()->has_context ? reinterpret_cast<CUcontext>(0x1000) : nullptr;
    return CUDA_SUCCESS;
  };
  driver.cuCtxGetDevice = [](CUdevice* device) { return *device = 0, CUDA_SUCCESS; };
  driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice) {
    return *context = reinterpret_cast<CUcontext>(0x1000), CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRelease_v2 = [](CUdevice) { return CUDA_SUCCESS; };
  driver.cuCtxSetLimit = [](CUlimit, std::size_t) { return CUDA_SUCCESS; };
  driver.cuModuleLoadDataEx = [](CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
    ++self()->loads;
    return make(module);
  };
  driver.cuModuleUnload = [](CUmodule) { return CUDA_SUCCESS; };
  driver.cuLibraryLoadData = [](CUlibrary* library, const void*, CUjit_option*, void**, unsigned,
                                CUlibraryOption*, void**, unsigned) {
    ++self()->loads;
    return make(library);
  };
}

inline void MemoryDriver::add_memory(api::Driver& driver) {
  driver.cuDeviceTotalMem_v2 = [](std::size_t* bytes, CUdevice) {
    return *bytes = kTotalBytes, CUDA_SUCCESS;
  };
  driver.cuMemGetInfo_v2 = [](std::size_t* free, std::size_t* total) {
    return *free = *total = kTotalBytes, CUDA_SUCCESS;
  };
  driver.cuMemAlloc_v2 = allocate;
  driver.cuMemAllocManaged = [](CUdeviceptr* at, std::size_t bytes, unsigned) {
    return allocate(at, bytes);
  };
  driver.cuMemAllocPitch_v2 = [](CUdeviceptr* at, std::size_t* pitch, std::size_t width,
                                 std::size_t height, unsigned) {
    *pitch = (width + 1023) / 1024 * 1024;
    return allocate(at, *pitch * height);
  };
  driver.cuMemFree_v2 = free;
  driver.cuArray3DCreate_v2 = [](CUarray* array, const CUDA_ARRAY3D_DESCRIPTOR*) {
    return make(array);
  };
  driver.cuArrayDestroy = [](CUarray) { return CUDA_SUCCESS; };
  driver.cuMipmappedArrayCreate = [](CUmipmappedArray* array, const CUDA_ARRAY3D_DESCRIPTOR*,
                                     unsigned) { return make(array); };
  driver.cuMipmappedArrayDestroy = [](CUmipmappedArray) { return CUDA_SUCCESS; };
  driver.cuMemAllocAsync = [](CUdeviceptr* at, std::size_t bytes, CUstream) {
    return allocate_pooled(at, bytes);
  };
  driver.cuMemAllocFromPoolAsync = [](CUdeviceptr* at, std::size_t bytes, CUmemoryPool, CUstream) {
    return allocate_pooled(at, bytes);
  };
  driver.cuMemFreeAsync = [](CUdeviceptr at, CUstream) { return free(at); };
  driver.cuDeviceGetMemPool = [](CUmemoryPool* pool, CUdevice) {
    return *pool = reinterpret_cast<CUmemoryPool>(0x99), CUDA_SUCCESS;
  };
  driver.cuMemPoolCreate = [](CUmemoryPool* pool, const CUmemPoolProps*) { return make(pool); };
  driver.cuMemPoolDestroy = [](CUmemoryPool) { return CUDA_SUCCESS; };
  driver.cuMemPoolGetAttribute = [](CUmemoryPool, CUmemPool_attribute which, void* value) {
    if (which != CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) return CUDA_ERROR_INVALID_VALUE;
    *static_cast<cuuint64_t*>(value) = self()->pool_reserved;
    return CUDA_SUCCESS;
  };
}

inline void MemoryDriver::add_virtual(api::Driver& driver) {
  driver.cuMemCreate = [](CUmemGenericAllocationHandle* handle, std::size_t,
                          const CUmemAllocationProp*, unsigned long long) {
    return *handle = self()->next_handle++, CUDA_SUCCESS;
  };
  driver.cuMemRelease = [](CUmemGenericAllocationHandle) { return CUDA_SUCCESS; };
  driver.cuMemRetainAllocationHandle = [](CUmemGenericAllocationHandle* handle, void*) {
    return *handle = self()->next_handle++, CUDA_SUCCESS;
  };
  driver.cuMemMap = [](CUdeviceptr, std::size_t, std::size_t, CUmemGenericAllocationHandle,
                       unsigned long long) { return CUDA_SUCCESS; };
  driver.cuMemUnmap = [](CUdeviceptr, std::size_t) { return CUDA_SUCCESS; };
}

inline void MemoryDriver::add_graphs(api::Driver& driver) {
  driver.cuEventCreate = [](CUevent* event, unsigned) { return make(event); };
  driver.cuEventDestroy_v2 = [](CUevent) { return CUDA_SUCCESS; };
  driver.cuEventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
  driver.cuEventQuery = [](CUevent) {
    return self()->streams_are_busy ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
  };
  driver.cuStreamBeginCapture_v2 = [](CUstream, CUstreamCaptureMode) { return CUDA_SUCCESS; };
  driver.cuStreamIsCapturing = [](CUstream, CUstreamCaptureStatus* status) {
    *status = self()->capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  };
  driver.cuGraphAddMemAllocNode = [](CUgraphNode*, CUgraph, const CUgraphNode*, std::size_t,
                                     CUDA_MEM_ALLOC_NODE_PARAMS*) { return CUDA_SUCCESS; };
  driver.cuGraphGetNodes = [](CUgraph, CUgraphNode* nodes, std::size_t* count) {
    if (nodes != nullptr) nodes[0] = reinterpret_cast<CUgraphNode>(0x20);
    return *count = 1, CUDA_SUCCESS;
  };
  driver.cuGraphNodeGetType = [](CUgraphNode, CUgraphNodeType* type) {
    return *type = CU_GRAPH_NODE_TYPE_MEM_ALLOC, CUDA_SUCCESS;
  };
  driver.cuGraphMemAllocNodeGetParams = [](CUgraphNode, CUDA_MEM_ALLOC_NODE_PARAMS* params) {
    return params->bytesize = self()->node_bytes, CUDA_SUCCESS;
  };
  driver.cuGraphInstantiateWithFlags = [](CUgraphExec* exec, CUgraph, unsigned long long) {
    return make(exec);
  };
  driver.cuGraphExecDestroy = [](CUgraphExec) { return CUDA_SUCCESS; };
  driver.cuGraphLaunch = [](CUgraphExec, CUstream) {
    ++self()->launches;
    self()->graph_reserved = self()->node_bytes;
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGraphMemTrim = [](CUdevice) {
    if (!self()->graphs_are_busy) self()->graph_reserved = 0;
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGetGraphMemAttribute = [](CUdevice, CUgraphMem_attribute, void* value) {
    return *static_cast<cuuint64_t*>(value) = self()->graph_reserved, CUDA_SUCCESS;
  };
}

inline api::Driver MemoryDriver::table() {
  api::Driver driver;
  add_contexts(driver);
  add_memory(driver);
  add_virtual(driver);
  add_graphs(driver);
  return driver;
}

}  // namespace farcall::server
