// Copies between every kind of memory, at once and queued.
// Source: CUDA Driver API 13.0, Memory Management.
#include "gpu_server/software_gpu/copy.h"

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

using Place = CopyEnd::Place;

std::uint64_t address_of(const void* host) { return reinterpret_cast<std::uint64_t>(host); }

template <class Descriptor>
CUresult copy_by(const Descriptor* wanted, CUstream stream, When when) {
  if (wanted == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CopyPlan plan;
  if (CUresult failed = plan_from(*wanted, &plan)) return failed;
  return run_copy(plan, stream, when);
}

// Between a flat range and one row position of an array.
CUresult copy_array(CopyEnd flat, CUarray array, std::size_t offset, bool into_array,
                    std::size_t bytes, CUstream stream, When when) {
  CopyPlan plan;
  CopyEnd end;
  if (CUresult failed = array_end(array, offset, 0, 0, &end)) return failed;
  plan.width = bytes;
  plan.from = into_array ? flat : end;
  plan.to = into_array ? end : flat;
  return run_copy(plan, stream, when);
}

CUresult copy_peer(const CUDA_MEMCPY3D_PEER* wanted, CUstream stream, When when) {
  if (wanted == nullptr) return CUDA_ERROR_INVALID_VALUE;
  // The same descriptor with a context beside each end; one address space holds all devices.
  CUDA_MEMCPY3D plain{};
  plain.srcXInBytes = wanted->srcXInBytes;
  plain.srcY = wanted->srcY;
  plain.srcZ = wanted->srcZ;
  plain.srcMemoryType = wanted->srcMemoryType;
  plain.srcHost = wanted->srcHost;
  plain.srcDevice = wanted->srcDevice;
  plain.srcArray = wanted->srcArray;
  plain.srcPitch = wanted->srcPitch;
  plain.srcHeight = wanted->srcHeight;
  plain.dstXInBytes = wanted->dstXInBytes;
  plain.dstY = wanted->dstY;
  plain.dstZ = wanted->dstZ;
  plain.dstMemoryType = wanted->dstMemoryType;
  plain.dstHost = wanted->dstHost;
  plain.dstDevice = wanted->dstDevice;
  plain.dstArray = wanted->dstArray;
  plain.dstPitch = wanted->dstPitch;
  plain.dstHeight = wanted->dstHeight;
  plain.WidthInBytes = wanted->WidthInBytes;
  plain.Height = wanted->Height;
  plain.Depth = wanted->Depth;
  return copy_by(&plain, stream, when);
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

// Each synchronous copy and its twin for per-thread default streams (_ptds) differ in the stream
// they wait for; each queued copy gets its twin (_ptsz) in twins.cpp.
#define SOFTGPU_SYNC(name, twin, parameters, ...) \
  CUresult name parameters {                      \
    const CUstream stream = nullptr;              \
    return __VA_ARGS__;                           \
  }                                               \
  CUresult twin parameters {                      \
    const CUstream stream = CU_STREAM_PER_THREAD; \
    return __VA_ARGS__;                           \
  }

extern "C" {

SOFTGPU_SYNC(cuMemcpy, cuMemcpy_ptds, (CUdeviceptr dst, CUdeviceptr src, size_t bytes),
             copy_bytes(Place::kEither, dst, Place::kEither, src, bytes, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpyHtoD_v2, cuMemcpyHtoD_v2_ptds,
             (CUdeviceptr dst, const void* src, size_t bytes),
             copy_bytes(Place::kDevice, dst, Place::kHost, address_of(src), bytes, stream,
                        When::kNow))
SOFTGPU_SYNC(cuMemcpyDtoH_v2, cuMemcpyDtoH_v2_ptds, (void* dst, CUdeviceptr src, size_t bytes),
             copy_bytes(Place::kHost, address_of(dst), Place::kDevice, src, bytes, stream,
                        When::kNow))
SOFTGPU_SYNC(cuMemcpyDtoD_v2, cuMemcpyDtoD_v2_ptds,
             (CUdeviceptr dst, CUdeviceptr src, size_t bytes),
             copy_bytes(Place::kDevice, dst, Place::kDevice, src, bytes, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpyPeer, cuMemcpyPeer_ptds,
             (CUdeviceptr dst, CUcontext, CUdeviceptr src, CUcontext, size_t bytes),
             copy_bytes(Place::kDevice, dst, Place::kDevice, src, bytes, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpyDtoA_v2, cuMemcpyDtoA_v2_ptds,
             (CUarray dst, size_t offset, CUdeviceptr src, size_t bytes),
             copy_array({src, 0, 0, Place::kDevice}, dst, offset, true, bytes, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpyAtoD_v2, cuMemcpyAtoD_v2_ptds,
             (CUdeviceptr dst, CUarray src, size_t offset, size_t bytes),
             copy_array({dst, 0, 0, Place::kDevice}, src, offset, false, bytes, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpyHtoA_v2, cuMemcpyHtoA_v2_ptds,
             (CUarray dst, size_t offset, const void* src, size_t bytes),
             copy_array({address_of(src), 0, 0, Place::kHost}, dst, offset, true, bytes, stream,
                        When::kNow))
SOFTGPU_SYNC(cuMemcpyAtoH_v2, cuMemcpyAtoH_v2_ptds,
             (void* dst, CUarray src, size_t offset, size_t bytes),
             copy_array({address_of(dst), 0, 0, Place::kHost}, src, offset, false, bytes, stream,
                        When::kNow))
SOFTGPU_SYNC(cuMemcpy2D_v2, cuMemcpy2D_v2_ptds, (const CUDA_MEMCPY2D* wanted),
             copy_by(wanted, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpy2DUnaligned_v2, cuMemcpy2DUnaligned_v2_ptds, (const CUDA_MEMCPY2D* wanted),
             copy_by(wanted, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpy3D_v2, cuMemcpy3D_v2_ptds, (const CUDA_MEMCPY3D* wanted),
             copy_by(wanted, stream, When::kNow))
SOFTGPU_SYNC(cuMemcpy3DPeer, cuMemcpy3DPeer_ptds, (const CUDA_MEMCPY3D_PEER* wanted),
             copy_peer(wanted, stream, When::kNow))

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream) {
  return copy_bytes(Place::kEither, dst, Place::kEither, src, bytes, stream, When::kQueued);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void* src, size_t bytes, CUstream stream) {
  return copy_bytes(Place::kDevice, dst, Place::kHost, address_of(src), bytes, stream,
                    When::kQueued);
}
CUresult cuMemcpyDtoHAsync_v2(void* dst, CUdeviceptr src, size_t bytes, CUstream stream) {
  return copy_bytes(Place::kHost, address_of(dst), Place::kDevice, src, bytes, stream,
                    When::kQueued);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream) {
  return copy_bytes(Place::kDevice, dst, Place::kDevice, src, bytes, stream, When::kQueued);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext, CUdeviceptr src, CUcontext, size_t bytes,
                           CUstream stream) {
  return copy_bytes(Place::kDevice, dst, Place::kDevice, src, bytes, stream, When::kQueued);
}
CUresult cuMemcpyHtoAAsync_v2(CUarray dst, size_t offset, const void* src, size_t bytes,
                              CUstream stream) {
  return copy_array({address_of(src), 0, 0, Place::kHost}, dst, offset, true, bytes, stream,
                    When::kQueued);
}
CUresult cuMemcpyAtoHAsync_v2(void* dst, CUarray src, size_t offset, size_t bytes,
                              CUstream stream) {
  return copy_array({address_of(dst), 0, 0, Place::kHost}, src, offset, false, bytes, stream,
                    When::kQueued);
}
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* wanted, CUstream stream) {
  return copy_by(wanted, stream, When::kQueued);
}
CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D* wanted, CUstream stream) {
  return copy_by(wanted, stream, When::kQueued);
}
CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER* wanted, CUstream stream) {
  return copy_peer(wanted, stream, When::kQueued);
}
}
