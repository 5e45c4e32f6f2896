#include "tests/transport/api/row_words.h"

namespace farcall::api {

void make_deep(Arena& arena, CUlaunchConfig& made) {
  made.gridDimX = 3;
  made.blockDimX = 64;
  made.sharedMemBytes = 1024;
  made.hStream = arena.element<CUstream>();
  made.numAttrs = 3;
  made.attrs = arena.room<CUlaunchAttribute>(3);
  std::memset(static_cast<void*>(made.attrs), 0, 3 * sizeof(CUlaunchAttribute));
  made.attrs[0].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  made.attrs[0].value.clusterDim.x = 2;
  made.attrs[1].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT;
  made.attrs[1].value.programmaticEvent.event = arena.element<CUevent>();
  made.attrs[2].id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT;
  made.attrs[2].value.launchCompletionEvent.event = arena.element<CUevent>();
}
void make_deep(Arena&, CUmemAllocationProp& made) {
  made.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  made.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  made.allocFlags.usage = 7;
}
void make_deep(Arena&, CUmemPoolProps& made) {
  made.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  made.maxSize = 1 << 30;
}
void make_deep(Arena& arena, CUDA_RESOURCE_DESC& made) {
  made.resType = CU_RESOURCE_TYPE_ARRAY;
  made.res.array.hArray = arena.element<CUarray>();
}
void make_deep(Arena& arena, CUDA_MEMCPY3D& made) {
  made.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  made.srcDevice = 0x7f0000000000;
  made.srcHost = &made;  // left over from something else: must not reach the server
  made.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  made.dstArray = arena.element<CUarray>();
  made.WidthInBytes = 64;
}

void make_deep(Arena& arena, CUDA_BATCH_MEM_OP_NODE_PARAMS& made) {
  made.ctx = arena.element<CUcontext>();
  made.count = 2;
  made.flags = 0;
  made.paramArray = arena.room<CUstreamBatchMemOpParams>(2);
}

void look_deep(Digest& digest, const CUDA_BATCH_MEM_OP_NODE_PARAMS& at) {
  digest.item(at.ctx);
  digest.item(at.count);
  digest.item(at.flags);
  for (unsigned i = 0; i < at.count; ++i) digest.item(at.paramArray[i]);
}
void look_deep(Digest& digest, const CUDA_MEMCPY3D& at) {
  digest.item(at.srcDevice);
  digest.item(at.dstArray);
  digest.item(at.WidthInBytes);
}
void look_deep(Digest& digest, const CUlaunchConfig& at) {
  for (unsigned value : {at.gridDimX, at.blockDimX, at.sharedMemBytes, at.numAttrs}) {
    digest.item(value);
  }
  digest.item(at.hStream);
  for (unsigned i = 0; i < at.numAttrs; ++i) {
    const CUlaunchAttribute& attribute = at.attrs[i];
    std::uint32_t id = 0;
    std::memcpy(&id, &attribute.id, sizeof(id));
    digest.item(id);
    if (id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT) {
      digest.item(attribute.value.programmaticEvent.event);
    } else if (id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) {
      digest.item(attribute.value.launchCompletionEvent.event);
    } else {
      digest.item(attribute.value);
    }
  }
}
void look_deep(Digest& digest, const CUmemAllocationProp& at) { digest.item(at); }
void look_deep(Digest& digest, const CUmemPoolProps& at) { digest.bytes(&at, sizeof(at)); }
void look_deep(Digest& digest, const CUDA_RESOURCE_DESC& at) {
  std::uint32_t type = 0;
  std::memcpy(&type, &at.resType, sizeof(type));
  digest.item(type);
  if (type == CU_RESOURCE_TYPE_ARRAY) digest.item(at.res.array.hArray);
  if (type == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY) digest.item(at.res.mipmap.hMipmappedArray);
}

void fill_deep(CUDA_RESOURCE_DESC& at) {
  at.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
  fill_one(&at.res.mipmap.hMipmappedArray);
}
bool is_filled_deep(const CUDA_RESOURCE_DESC& at, TableLoop& loop) {
  return at.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY &&
         is_filled(at.res.mipmap.hMipmappedArray, loop);
}
// What the driver left in a host pointer must not come back.
void fill_deep(CUDA_MEMCPY3D& at) {
  at = {};
  at.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  at.srcDevice = 0x7f0000000000;
  at.srcHost = &at;
  at.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  fill_one(&at.dstArray);
}
bool is_filled_deep(const CUDA_MEMCPY3D& at, TableLoop& loop) {
  return at.srcDevice == 0x7f0000000000 && at.srcHost == nullptr && is_filled(at.dstArray, loop);
}
void fill_deep(CUDA_MEM_ALLOC_NODE_PARAMS& at) {
  at = {};
  at.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  at.accessDescCount = 1;
  at.bytesize = 4096;
  at.dptr = 0x7f0000000000;
}
bool is_filled_deep(const CUDA_MEM_ALLOC_NODE_PARAMS& at, TableLoop&) {
  return at.poolProps.allocType == CU_MEM_ALLOCATION_TYPE_PINNED && at.accessDescCount == 0 &&
         at.bytesize == 4096 && at.dptr == 0x7f0000000000;
}

}  // namespace farcall::api
