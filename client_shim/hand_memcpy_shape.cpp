// The exported copies of two and three dimensions, and those between host and array.
#include "client_shim/behind.h"
#include "client_shim/entry.h"
#include "client_shim/shape.h"

using farcall::shim::Client;
using farcall::shim::id_of;
using farcall::shim::Place;
using farcall::shim::Shape;
using farcall::shim::with_client;

namespace {

template <class Descriptor>
CUresult copy(const Descriptor* descriptor, CUstream stream, bool is_async) {
  return with_client([&](Client& client) {
    if (descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
    Shape shape;
    CUresult read = farcall::shim::shape_of(client.allocations(), *descriptor, &shape);
    if (read != CUDA_SUCCESS) return read;
    return farcall::shim::copy_shape(client, shape, stream, is_async);
  });
}

CUresult to_array(CUarray array, std::size_t offset, const void* from, std::size_t bytes,
                  CUstream stream, bool is_async) {
  return with_client([&](Client& client) {
    if (array == nullptr || from == nullptr) return CUDA_ERROR_INVALID_VALUE;
    Shape shape;
    shape.width = bytes;
    shape.from = {Place::kHost, reinterpret_cast<std::uint64_t>(from), bytes, 1, 0, 0, 0, 0};
    shape.to = {Place::kArray, id_of(array), 0, 0, offset, 0, 0, 0};
    return farcall::shim::copy_shape(client, shape, stream, is_async);
  });
}

CUresult from_array(void* to, CUarray array, std::size_t offset, std::size_t bytes, CUstream stream,
                    bool is_async) {
  return with_client([&](Client& client) {
    if (array == nullptr || to == nullptr) return CUDA_ERROR_INVALID_VALUE;
    Shape shape;
    shape.width = bytes;
    shape.from = {Place::kArray, id_of(array), 0, 0, offset, 0, 0, 0};
    shape.to = {Place::kHost, reinterpret_cast<std::uint64_t>(to), bytes, 1, 0, 0, 0, 0};
    return farcall::shim::copy_shape(client, shape, stream, is_async);
  });
}

}  // namespace

FARCALL_EXPORT cuMemcpy2D_v2(const CUDA_MEMCPY2D* descriptor) {
  return copy(descriptor, nullptr, false);
}
FARCALL_EXPORT cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D* descriptor) {
  return copy(descriptor, nullptr, false);
}
FARCALL_EXPORT cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* descriptor, CUstream stream) {
  return copy(descriptor, stream, true);
}
FARCALL_EXPORT cuMemcpy3D_v2(const CUDA_MEMCPY3D* descriptor) {
  return copy(descriptor, nullptr, false);
}
FARCALL_EXPORT cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D* descriptor, CUstream stream) {
  return copy(descriptor, stream, true);
}
FARCALL_EXPORT cuMemcpyHtoA_v2(CUarray to, size_t offset, const void* from, size_t bytes) {
  return to_array(to, offset, from, bytes, nullptr, false);
}
FARCALL_EXPORT cuMemcpyHtoAAsync_v2(CUarray to, size_t offset, const void* from, size_t bytes,
                                    CUstream stream) {
  return to_array(to, offset, from, bytes, stream, true);
}
FARCALL_EXPORT cuMemcpyAtoH_v2(void* to, CUarray from, size_t offset, size_t bytes) {
  return from_array(to, from, offset, bytes, nullptr, false);
}
FARCALL_EXPORT cuMemcpyAtoHAsync_v2(void* to, CUarray from, size_t offset, size_t bytes,
                                    CUstream stream) {
  return from_array(to, from, offset, bytes, stream, true);
}
