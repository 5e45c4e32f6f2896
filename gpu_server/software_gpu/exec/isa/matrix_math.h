// The arithmetic of matrix instructions, once per instruction set.
//
//   const MatrixMath& math = matrix_math(launch.isa);
//   math.factors_f32(a_held, a);   // from registers to plain numbers, row by row
//   math.factors_f32(b_held, b);
//   math.sums_f32(c_held, d);
//   math.multiply_f32(a, b, d, {16, 16, 16});
//   math.keep_f32(d_held, d);      // and back into registers
//
// A register of 32 lanes is 128 bytes, of f64 256: eight lines of four lanes. Whole lines are
// moved, never single elements, wherever the layout allows it. Data only: what includes this is
// compiled for several instruction sets and shares no code. Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::softgpu {

enum class Element : std::uint8_t {
  kF16,
  kBf16,
  kTf32,
  kF32,
  kF64,
  kS8,
  kU8,
  kS4,
  kU4,
  kB1,
  kS32,
};

// How the registers of a warp hold a matrix.
enum class Holding : std::uint8_t {
  kFactor,  // a, b of wmma: rows in order, register after register
  kSum,     // c, d of wmma: element i of lane l is number 32 i + l
  kA,       // of mma, as the manual says
  kB,
  kC,
};

struct HeldMatrix {
  std::byte* frame;
  const std::uint32_t* rows;  // of the frame, one for each register
  std::uint32_t registers;
  std::uint32_t columns;
  Element element;
  Holding holding;
  bool halves;  // kA: registers alternate between the upper and the lower eight rows
};

struct MatrixSizes {
  std::size_t m, n, k;  // m and n multiples of eight
};

// multiply_*: d += a * b, from the first product to the last; integers wrap.
// Buffers are 64-byte aligned and hold the matrix whole.
struct MatrixMath {
  void (*factors_f32)(const HeldMatrix& from, float* to);
  void (*factors_f64)(const HeldMatrix& from, double* to);
  void (*factors_u32)(const HeldMatrix& from, std::uint32_t* to);
  void (*sums_f32)(const HeldMatrix& from, float* to);  // of f32 or f16
  void (*sums_f64)(const HeldMatrix& from, double* to);
  void (*sums_u32)(const HeldMatrix& from, std::uint32_t* to);
  void (*multiply_f32)(const float* a, const float* b, float* d, MatrixSizes sizes);
  void (*multiply_f64)(const double* a, const double* b, double* d, MatrixSizes sizes);
  void (*multiply_u32)(const std::uint32_t* a, const std::uint32_t* b, std::uint32_t* d,
                       MatrixSizes sizes);
  void (*keep_f32)(const HeldMatrix& to, const float* from);
  void (*keep_f64)(const HeldMatrix& to, const double* from);
  void (*keep_u32)(const HeldMatrix& to, const std::uint32_t* from);
};

}  // namespace farcall::softgpu
