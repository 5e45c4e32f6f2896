// Copies and waits between two servers, in a program with several (routed.h): each is a Crossing,
// for calls that can be done although they name things of two.
//
// Nothing is between the devices of two servers but this process, and, where both allow it, the
// servers' own link to each other (direct.h). So the caller waits: for the work in the stream that
// is named, then until the copy is complete. Neither can be part of a graph: in a capture they are
// refused, because their wait is.
// Threads: any.
#pragma once
#include "client_shim/several.h"

namespace farcall::shim {

// Device memory of two servers, or of one and a stream of another.
//   stream  null pointer: a copy without one
// Errors: CUDA_ERROR_INVALID_VALUE for what is nobody's memory or leaves its block.
CUresult copy_between(Fleet& fleet, CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                      const CUstream* stream);
// The same between this process and `device`: `copy` runs while its owner is served.
CUresult copy_behind(Fleet& fleet, CUstream stream, CUdeviceptr device,
                     FunctionRef<CUresult()> copy);
// A copy that names no stream, once what is in this one is done.
CUresult behind_stream(Fleet& fleet, CUstream stream, FunctionRef<CUresult()> copy);
// A copy with a shape whose ends, or whose end and stream, are on two servers; arrays too.
CUresult copy_shape_between(Fleet& fleet, const CUDA_MEMCPY2D* copy, const CUstream* stream);
CUresult copy_shape_between(Fleet& fleet, const CUDA_MEMCPY3D* copy, const CUstream* stream);
// An array from an offset on; without one, device memory at `at`.
struct ArrayEnd {
  CUarray array;
  std::uint64_t at;
};
CUresult copy_array_between(Fleet& fleet, ArrayEnd to, ArrayEnd from, std::size_t bytes);
// cuMemcpyPeer: behind everything in both contexts.
CUresult copy_peer(Fleet& fleet, CUdeviceptr to, CUcontext target, CUdeviceptr from,
                   CUcontext source, std::size_t bytes);
// What is put into `stream` from here on comes after the event, because the caller waits for it.
CUresult wait_here(Fleet& fleet, CUstream stream, CUevent event);

template <>
struct Crossing<&::cuMemcpyDtoD_v2> {
  static CUresult call(Fleet& fleet, CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
    return copy_between(fleet, to, from, bytes, nullptr);
  }
};
template <>
struct Crossing<&::cuMemcpyDtoDAsync_v2> {
  static CUresult call(Fleet& fleet, CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                       CUstream stream) {
    return copy_between(fleet, to, from, bytes, &stream);
  }
};
template <>
struct Crossing<&::cuMemcpy> : Crossing<&::cuMemcpyDtoD_v2> {};
template <>
struct Crossing<&::cuMemcpyAsync> : Crossing<&::cuMemcpyDtoDAsync_v2> {};
template <>
struct Crossing<&::cuMemcpyPeer> {
  static CUresult call(Fleet& fleet, CUdeviceptr to, CUcontext target, CUdeviceptr from,
                       CUcontext source, std::size_t bytes) {
    return copy_peer(fleet, to, target, from, source, bytes);
  }
};
template <>
struct Crossing<&::cuMemcpyPeerAsync> {
  static CUresult call(Fleet& fleet, CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext,
                       std::size_t bytes, CUstream stream) {
    return copy_between(fleet, to, from, bytes, &stream);
  }
};
template <>
struct Crossing<&::cuMemcpyHtoDAsync_v2> {
  static CUresult call(Fleet& fleet, CUdeviceptr to, const void* from, std::size_t bytes,
                       CUstream stream) {
    return copy_behind(fleet, stream, to, [&] { return ::cuMemcpyHtoD_v2(to, from, bytes); });
  }
};
template <>
struct Crossing<&::cuMemcpyDtoHAsync_v2> {
  static CUresult call(Fleet& fleet, void* to, CUdeviceptr from, std::size_t bytes,
                       CUstream stream) {
    return copy_behind(fleet, stream, from, [&] { return ::cuMemcpyDtoH_v2(to, from, bytes); });
  }
};
template <>
struct Crossing<&::cuMemcpy2D_v2> {
  static CUresult call(Fleet& fleet, const CUDA_MEMCPY2D* copy) {
    return copy_shape_between(fleet, copy, nullptr);
  }
};
template <>
struct Crossing<&::cuMemcpy2DUnaligned_v2> : Crossing<&::cuMemcpy2D_v2> {};
template <>
struct Crossing<&::cuMemcpy2DAsync_v2> {
  static CUresult call(Fleet& fleet, const CUDA_MEMCPY2D* copy, CUstream stream) {
    return copy_shape_between(fleet, copy, &stream);
  }
};
template <>
struct Crossing<&::cuMemcpy3D_v2> {
  static CUresult call(Fleet& fleet, const CUDA_MEMCPY3D* copy) {
    return copy_shape_between(fleet, copy, nullptr);
  }
};
template <>
struct Crossing<&::cuMemcpy3DAsync_v2> {
  static CUresult call(Fleet& fleet, const CUDA_MEMCPY3D* copy, CUstream stream) {
    return copy_shape_between(fleet, copy, &stream);
  }
};
template <>
struct Crossing<&::cuMemcpyDtoA_v2> {
  static CUresult call(Fleet& fleet, CUarray to, std::size_t offset, CUdeviceptr from,
                       std::size_t bytes) {
    return copy_array_between(fleet, {to, offset}, {nullptr, from}, bytes);
  }
};
template <>
struct Crossing<&::cuMemcpyAtoD_v2> {
  static CUresult call(Fleet& fleet, CUdeviceptr to, CUarray from, std::size_t offset,
                       std::size_t bytes) {
    return copy_array_between(fleet, {nullptr, to}, {from, offset}, bytes);
  }
};
template <>
struct Crossing<&::cuMemcpyAtoA_v2> {
  static CUresult call(Fleet& fleet, CUarray to, std::size_t to_offset, CUarray from,
                       std::size_t from_offset, std::size_t bytes) {
    return copy_array_between(fleet, {to, to_offset}, {from, from_offset}, bytes);
  }
};
template <>
struct Crossing<&::cuMemcpyHtoAAsync_v2> {
  static CUresult call(Fleet& fleet, CUarray to, std::size_t offset, const void* from,
                       std::size_t bytes, CUstream stream) {
    return behind_stream(fleet, stream, [&] { return ::cuMemcpyHtoA_v2(to, offset, from, bytes); });
  }
};
template <>
struct Crossing<&::cuMemcpyAtoHAsync_v2> {
  static CUresult call(Fleet& fleet, void* to, CUarray from, std::size_t offset, std::size_t bytes,
                       CUstream stream) {
    return behind_stream(fleet, stream, [&] { return ::cuMemcpyAtoH_v2(to, from, offset, bytes); });
  }
};
template <>
struct Crossing<&::cuStreamWaitEvent> {
  static CUresult call(Fleet& fleet, CUstream stream, CUevent event, unsigned) {
    return wait_here(fleet, stream, event);
  }
};

}  // namespace farcall::shim
