// The shapes of matrices in memory that have a load of their own (matrix_moves.cpp).
//
//   const unsigned variant = load_variant({8, 8, 32, true});   // of kMatrixLoad; 0: the general
//   one
//
// Their registers, four at most, are those that Ins::d, c, e and f name, in this order.
// Data only, as matrix_math.h.  Threads: any.
#pragma once
#include <cstdint>

namespace farcall::softgpu {

struct MatrixShape {
  std::uint32_t element_bytes;
  std::uint32_t lines, line_bytes;  // rows, or columns where they are contiguous
  bool turned;                      // they are columns; registers hold rows

  friend constexpr bool operator==(const MatrixShape&, const MatrixShape&) = default;
};

inline constexpr MatrixShape kLoadShapes[] = {
    // wmma of doubles
    {8, 8, 32, false},
    {8, 4, 64, false},
    {8, 8, 32, true},
    {8, 4, 64, true},
    // tf32
    {4, 16, 32, false},
    {4, 8, 64, false},
    {4, 16, 32, true},
    {4, 8, 64, true},
    // bf16
    {2, 16, 32, false},
    {2, 16, 32, true},
    // integers of 8 bits
    {1, 16, 16, false},
    {1, 16, 16, true},
};
inline constexpr std::uint32_t kLoadRegistersMax = 4;

constexpr unsigned load_variant(const MatrixShape& shape) {
  unsigned variant = 0;
  for (const MatrixShape& each : kLoadShapes) {
    ++variant;
    if (each == shape) return variant;
  }
  return 0;
}

}  // namespace farcall::softgpu
