// Memset in all its widths.
// Source: CUDA Driver API 13.0, Memory Management.
#include "gpu_server/software_gpu/copy.h"

using namespace farcall::softgpu;

// One row of the family: the synchronous function, its per-thread twin and the queued function, for
// a flat range and for rows.
#define SOFTGPU_FILL(bits, type)                                                                \
  CUresult cuMemsetD##bits##_v2(CUdeviceptr dst, type value, size_t count) {                    \
    return run_fill({dst, 0, value, sizeof(type), count, 1}, nullptr, When::kNow);              \
  }                                                                                             \
  CUresult cuMemsetD##bits##_v2_ptds(CUdeviceptr dst, type value, size_t count) {               \
    return run_fill({dst, 0, value, sizeof(type), count, 1}, CU_STREAM_PER_THREAD, When::kNow); \
  }                                                                                             \
  CUresult cuMemsetD##bits##Async(CUdeviceptr dst, type value, size_t count, CUstream stream) { \
    return run_fill({dst, 0, value, sizeof(type), count, 1}, stream, When::kQueued);            \
  }                                                                                             \
  CUresult cuMemsetD2D##bits##_v2(CUdeviceptr dst, size_t pitch, type value, size_t width,      \
                                  size_t height) {                                              \
    return run_fill({dst, pitch, value, sizeof(type), width, height}, nullptr, When::kNow);     \
  }                                                                                             \
  CUresult cuMemsetD2D##bits##_v2_ptds(CUdeviceptr dst, size_t pitch, type value, size_t width, \
                                       size_t height) {                                         \
    return run_fill({dst, pitch, value, sizeof(type), width, height}, CU_STREAM_PER_THREAD,     \
                    When::kNow);                                                                \
  }                                                                                             \
  CUresult cuMemsetD2D##bits##Async(CUdeviceptr dst, size_t pitch, type value, size_t width,    \
                                    size_t height, CUstream stream) {                           \
    return run_fill({dst, pitch, value, sizeof(type), width, height}, stream, When::kQueued);   \
  }

extern "C" {
SOFTGPU_FILL(8, unsigned char)
SOFTGPU_FILL(16, unsigned short)
SOFTGPU_FILL(32, unsigned)
}
