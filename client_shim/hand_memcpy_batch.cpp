// Batches of copies, and copies between contexts with a shape: one ordinary copy after the other.
//
// CUDA promises no order within a batch, so the order they are given in is as good as any. With
// unified addressing a copy between contexts is a copy between addresses.
// Source: CUDA Driver API 13.0, cuMemcpyBatchAsync, cuMemcpy3DBatchAsync, cuMemcpy3DPeer.
#include "client_shim/entry.h"
#include "transport/api/rows.h"

using farcall::shim::Client;
using farcall::shim::with_client;

namespace {

// --- linear copies -------------------------------------------------------------------------------

struct Batch {
  const CUdeviceptr* to;
  const CUdeviceptr* from;
  const size_t* bytes;
  size_t count;
  const CUmemcpyAttributes* attributes;
  const size_t* first;  // the copy from which an attribute holds
  size_t attribute_count;
};

bool is_order(CUmemcpySrcAccessOrder order) {
  return order == CU_MEMCPY_SRC_ACCESS_ORDER_STREAM ||
         order == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL ||
         order == CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
}

bool is_legacy(CUstream stream) { return stream == nullptr || stream == CU_STREAM_LEGACY; }

bool is_valid(const Batch& batch) {
  if (batch.to == nullptr || batch.from == nullptr || batch.bytes == nullptr || batch.count == 0 ||
      batch.attributes == nullptr || batch.first == nullptr || batch.attribute_count == 0 ||
      batch.attribute_count > batch.count || batch.first[0] != 0) {
    return false;
  }
  for (size_t i = 0; i < batch.attribute_count; ++i) {
    if (!is_order(batch.attributes[i].srcAccessOrder)) return false;
    if (i > 0 && batch.first[i] <= batch.first[i - 1]) return false;
  }
  return batch.first[batch.attribute_count - 1] < batch.count;
}

// failed: which copy it was, SIZE_MAX when it was the batch; may be null.
CUresult copy_all(const Batch& batch, size_t* failed, CUstream stream) {
  return with_client([&](Client&) {
    if (failed != nullptr) *failed = SIZE_MAX;
    if (!is_valid(batch) || is_legacy(stream)) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < batch.count; ++i) {
      CUresult copied = batch.bytes[i] == 0
                            ? CUDA_ERROR_INVALID_VALUE
                            : cuMemcpyAsync(batch.to[i], batch.from[i], batch.bytes[i], stream);
      if (copied == CUDA_SUCCESS) continue;
      if (failed != nullptr) *failed = i;
      return copied;
    }
    return CUDA_SUCCESS;
  });
}

// --- copies with a shape -------------------------------------------------------------------------

// Bytes of an element of an array; 0 for a format that cannot be copied so.
size_t element_bytes(const CUDA_ARRAY3D_DESCRIPTOR& array) {
  switch (array.Format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return array.NumChannels;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return size_t{2} * array.NumChannels;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return size_t{4} * array.NumChannels;
    default: return 0;
  }
}

// An end that is an array says how large an element is; two pointers count in bytes.
CUresult find_element(const CUmemcpy3DOperand& end, size_t* bytes) {
  if (end.type == CU_MEMCPY_OPERAND_TYPE_POINTER) return CUDA_SUCCESS;
  if (end.type != CU_MEMCPY_OPERAND_TYPE_ARRAY) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR array{};
  CUresult told = cuArray3DGetDescriptor_v2(&array, end.op.array.array);
  if (told != CUDA_SUCCESS) return told;
  const size_t found = element_bytes(array);
  if (found == 0) return CUDA_ERROR_NOT_SUPPORTED;
  if (*bytes > 1 && *bytes != found) return CUDA_ERROR_INVALID_VALUE;
  *bytes = found;
  return CUDA_SUCCESS;
}

CUresult copy_shape(const CUDA_MEMCPY3D_BATCH_OP& op, CUstream stream) {
  if (op.extent.width == 0 || op.extent.height == 0 || op.extent.depth == 0 ||
      !is_order(op.srcAccessOrder)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  size_t element = 1;
  CUresult bad = find_element(op.src, &element);
  if (bad == CUDA_SUCCESS) bad = find_element(op.dst, &element);
  if (bad != CUDA_SUCCESS) return bad;
  CUDA_MEMCPY3D copy{};
  copy.WidthInBytes = op.extent.width * element;
  copy.Height = op.extent.height;
  copy.Depth = op.extent.depth;
  if (op.src.type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
    const auto& from = op.src.op.array;
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = from.array;
    copy.srcXInBytes = from.offset.x * element;
    copy.srcY = from.offset.y;
    copy.srcZ = from.offset.z;
  } else {
    copy.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
    copy.srcDevice = op.src.op.ptr.ptr;
    copy.srcPitch = op.src.op.ptr.rowLength * element;
    copy.srcHeight = op.src.op.ptr.layerHeight;
  }
  if (op.dst.type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
    const auto& to = op.dst.op.array;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = to.array;
    copy.dstXInBytes = to.offset.x * element;
    copy.dstY = to.offset.y;
    copy.dstZ = to.offset.z;
  } else {
    copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
    copy.dstDevice = op.dst.op.ptr.ptr;
    copy.dstPitch = op.dst.op.ptr.rowLength * element;
    copy.dstHeight = op.dst.op.ptr.layerHeight;
  }
  return cuMemcpy3DAsync_v2(&copy, stream);
}

CUresult copy_shapes(size_t count, const CUDA_MEMCPY3D_BATCH_OP* ops, size_t* failed,
                     unsigned long long flags, CUstream stream) {
  return with_client([&](Client&) {
    if (failed != nullptr) *failed = SIZE_MAX;
    if (count == 0 || ops == nullptr || flags != 0 || is_legacy(stream)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (size_t i = 0; i < count; ++i) {
      CUresult copied = copy_shape(ops[i], stream);
      if (copied == CUDA_SUCCESS) continue;
      if (failed != nullptr) *failed = i;
      return copied;
    }
    return CUDA_SUCCESS;
  });
}

// --- between contexts ----------------------------------------------------------------------------

CUDA_MEMCPY3D without_contexts(const CUDA_MEMCPY3D_PEER& peer) {
  CUDA_MEMCPY3D copy{};
  copy.srcXInBytes = peer.srcXInBytes;
  copy.srcY = peer.srcY;
  copy.srcZ = peer.srcZ;
  copy.srcLOD = peer.srcLOD;
  copy.srcMemoryType = peer.srcMemoryType;
  copy.srcHost = peer.srcHost;
  copy.srcDevice = peer.srcDevice;
  copy.srcArray = peer.srcArray;
  copy.srcPitch = peer.srcPitch;
  copy.srcHeight = peer.srcHeight;
  copy.dstXInBytes = peer.dstXInBytes;
  copy.dstY = peer.dstY;
  copy.dstZ = peer.dstZ;
  copy.dstLOD = peer.dstLOD;
  copy.dstMemoryType = peer.dstMemoryType;
  copy.dstHost = peer.dstHost;
  copy.dstDevice = peer.dstDevice;
  copy.dstArray = peer.dstArray;
  copy.dstPitch = peer.dstPitch;
  copy.dstHeight = peer.dstHeight;
  copy.WidthInBytes = peer.WidthInBytes;
  copy.Height = peer.Height;
  copy.Depth = peer.Depth;
  return copy;
}

}  // namespace

FARCALL_EXPORT cuMemcpyBatchAsync(CUdeviceptr* to, CUdeviceptr* from, size_t* bytes, size_t count,
                                  CUmemcpyAttributes* attributes, size_t* first,
                                  size_t attribute_count, size_t* failed, CUstream stream) {
  return copy_all({to, from, bytes, count, attributes, first, attribute_count}, failed, stream);
}
FARCALL_EXPORT cuMemcpyBatchAsync_v2(CUdeviceptr* to, CUdeviceptr* from, size_t* bytes,
                                     size_t count, CUmemcpyAttributes* attributes, size_t* first,
                                     size_t attribute_count, CUstream stream) {
  return copy_all({to, from, bytes, count, attributes, first, attribute_count}, nullptr, stream);
}
FARCALL_EXPORT cuMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP* ops, size_t* failed,
                                    unsigned long long flags, CUstream stream) {
  return copy_shapes(count, ops, failed, flags, stream);
}
FARCALL_EXPORT cuMemcpy3DBatchAsync_v2(size_t count, CUDA_MEMCPY3D_BATCH_OP* ops,
                                       unsigned long long flags, CUstream stream) {
  return copy_shapes(count, ops, nullptr, flags, stream);
}
FARCALL_EXPORT cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER* peer) {
  if (peer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_MEMCPY3D copy = without_contexts(*peer);
  return cuMemcpy3D_v2(&copy);
}
FARCALL_EXPORT cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER* peer, CUstream stream) {
  if (peer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_MEMCPY3D copy = without_contexts(*peer);
  return cuMemcpy3DAsync_v2(&copy, stream);
}
