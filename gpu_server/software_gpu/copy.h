// Copies and fills: checked when called, done when their stream reaches them.
//
//   CopyPlan plan; plan.width = bytes; …
//   return run_copy(plan, stream, When::kNow);
//
// One shape serves every copy CUDA has: `depth` slices of `height` rows of `width` bytes, with a
// pitch and a slice size at each end. A plain copy is one row.
// Threads: any.
#pragma once
#include <cstdint>

#include "gpu_server/software_gpu/array.h"
#include "gpu_server/software_gpu/stream.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

struct CopyEnd {
  enum class Place {
    kHost,
    kDevice,
    kEither,  // CU_MEMORYTYPE_UNIFIED: the address tells
  };
  std::uint64_t address = 0;  // of the first byte to copy
  std::size_t pitch = 0;
  std::size_t slice = 0;  // bytes from one slice to the next
  Place place = Place::kEither;
};

// steps * stride + rest, or the largest number there is: sizes come from the program.
inline std::uint64_t reach(std::uint64_t steps, std::uint64_t stride, std::uint64_t rest) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(steps, stride, &bytes)) return UINT64_MAX;
  return __builtin_add_overflow(bytes, rest, &bytes) ? UINT64_MAX : bytes;
}

struct CopyPlan {
  CopyEnd from, to;
  std::size_t width = 0, height = 1, depth = 1;
  // Bytes from the first touched byte to the last, plus one; none of the sizes is 0.
  std::uint64_t span(const CopyEnd& end) const {
    return reach(depth - 1, end.slice, reach(height - 1, end.pitch, width));
  }
};

enum class When { kNow, kQueued };

// Errors: CUDA_ERROR_INVALID_VALUE for memory that is not what its place says.
CUresult run_copy(const CopyPlan& plan, CUstream stream, When when);
CUresult copy_bytes(CopyEnd::Place to_place, std::uint64_t to, CopyEnd::Place from_place,
                    std::uint64_t from, std::size_t bytes, CUstream stream, When when);

// The same as work for a graph; checked now, done later.
CUresult copy_work(const CopyPlan& plan, Work* work);

// Fills `height` rows of `width` elements of 1, 2 or 4 bytes.
struct FillPlan {
  std::uint64_t address = 0;
  std::size_t pitch = 0;
  unsigned value = 0;
  std::size_t element_bytes = 1;
  std::size_t width = 0, height = 1;
};
CUresult run_fill(const FillPlan& plan, CUstream stream, When when);
CUresult fill_work(const FillPlan& plan, Work* work);

// The plan that a descriptor of cuMemcpy2D or cuMemcpy3D asks for.
CUresult plan_from(const CUDA_MEMCPY3D& wanted, CopyPlan* plan);
CUresult plan_from(const CUDA_MEMCPY2D& wanted, CopyPlan* plan);
// An array as one end of a copy, from byte `x` of a row on.
CUresult array_end(CUarray handle, std::size_t x, std::size_t y, std::size_t z, CopyEnd* end);

}  // namespace farcall::softgpu
