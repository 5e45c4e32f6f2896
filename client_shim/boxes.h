// Boxes: a copy with a shape, cut into parts that a buffer of ours can hold, for copies that go
// through memory of this process.
//
//   for (Boxes boxes(shape, staging.size()); boxes.has_more();) {
//     const Box box = boxes.next();
//     part.from = part_of(shape.from, box);
//     part.to = packed(staging.data(), box);
//   }
//
// Owner: the caller's stack; the shape outlives it.  Threads: one.  It copies nothing itself.
#pragma once
#include <algorithm>
#include <cstdint>

#include "client_shim/shape.h"

namespace farcall::shim {

// A part of a shape that staging holds, packed.
struct Box {
  std::uint64_t x = 0, y = 0, z = 0;
  std::uint64_t width = 0, rows = 0, slices = 0;
};

// Cuts a shape into boxes of at most `bytes_max`: whole slices, else rows, else parts of a row.
class Boxes {
 public:
  Boxes(const Shape& shape, std::uint64_t bytes_max) : shape_(shape), max_(bytes_max) {}
  bool has_more() const { return z_ < shape_.slices; }
  Box next() {
    Box box{x_, y_, z_, shape_.width, shape_.rows, 1};
    const std::uint64_t slice_bytes = shape_.width * shape_.rows;
    if (slice_bytes <= max_) {
      box.slices = std::min(shape_.slices - z_, max_ / slice_bytes);
      z_ += box.slices;
      return box;
    }
    box.rows = std::min(std::max<std::uint64_t>(1, max_ / shape_.width), shape_.rows - y_);
    box.width = std::min(max_, shape_.width - x_);
    x_ += box.width;
    if (x_ < shape_.width) return box;
    x_ = 0;
    y_ += box.rows;
    if (y_ < shape_.rows) return box;
    y_ = 0;
    ++z_;
    return box;
  }

 private:
  const Shape& shape_;
  const std::uint64_t max_;
  std::uint64_t x_ = 0, y_ = 0, z_ = 0;
};

inline Side part_of(Side side, const Box& box) {
  side.x += box.x;
  side.y += box.y;
  side.z += box.z;
  return side;
}

// Host memory that holds a box, packed.
inline Side packed(const void* at, const Box& box) {
  return {Place::kHost, reinterpret_cast<std::uint64_t>(at), box.width, box.rows, 0, 0, 0, 0};
}

}  // namespace farcall::shim
