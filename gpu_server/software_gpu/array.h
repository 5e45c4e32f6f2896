// Array: a CUarray: rows of texels in device memory, with no gaps that a program could see.
//
//   Result: array->at(x_bytes, y, z) is the address of a texel's row position.
//
// Owner: handle table.  Threads: any; immutable once made.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Context;

struct Array {
  Context* context = nullptr;
  CUDA_ARRAY3D_DESCRIPTOR shape{};  // Height and Depth 0 for fewer dimensions
  std::uint64_t base = 0;
  std::size_t texel_bytes = 0;
  bool is_level = false;  // of a mipmapped array, which owns the memory

  std::size_t row_bytes() const { return shape.Width * texel_bytes; }
  std::size_t rows() const { return std::max<std::size_t>(shape.Height, 1); }
  std::size_t slices() const { return std::max<std::size_t>(shape.Depth, 1); }
  std::size_t total_bytes() const { return row_bytes() * rows() * slices(); }
};

// A CUmipmappedArray: arrays of falling size in one piece of memory. Each is a CUarray, too.
struct MipmappedArray {
  Context* context = nullptr;
  std::vector<std::shared_ptr<Array>> levels;
  std::size_t bytes = 0;
};
inline constexpr std::size_t kLevelAlign = 512;  // of arrays, and of each level

}  // namespace farcall::softgpu
