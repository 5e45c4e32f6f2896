// Floating-point helpers of the handlers: bits, flush to zero, saturation, rounding modes.
// In an unnamed namespace for the reason lanes.h gives.
#pragma once
#include "gpu_server/software_gpu/exec/isa/lanes.h"

namespace farcall::softgpu {
namespace {

[[maybe_unused]] inline u32 bits_of(f32 x) { return __builtin_bit_cast(u32, x); }
[[maybe_unused]] inline u64 bits_of(f64 x) { return __builtin_bit_cast(u64, x); }
[[maybe_unused]] inline f32 from_bits(u32 x) { return __builtin_bit_cast(f32, x); }
[[maybe_unused]] inline f64 from_bits(u64 x) { return __builtin_bit_cast(f64, x); }
[[maybe_unused]] inline f32 canonical_nan(f32) { return from_bits(0x7fffffffu); }
[[maybe_unused]] inline f64 canonical_nan(f64) { return from_bits(u64{0x7ff8000000000000}); }

// A subnormal becomes a zero of its sign.
[[maybe_unused]] inline f32 flush(f32 x) {
  const u32 bits = bits_of(x);
  return (bits & 0x7f800000u) == 0 ? from_bits(bits & 0x80000000u) : x;
}

// The rounding of MXCSR for the life of one object; round-to-nearest costs nothing.
class Rounding {
 public:
  explicit Rounding(unsigned flags) : changed_((flags & kRoundMask) != kRoundNearest) {
    if (!changed_) return;
    saved_ = __builtin_ia32_stmxcsr();
    // PTX's order is nearest, zero, down, up; MXCSR's nearest, down, up, zero.
    constexpr unsigned kMode[4] = {0, 3, 1, 2};
    __builtin_ia32_ldmxcsr((saved_ & ~0x6000u) | kMode[flags & kRoundMask] << 13);
  }
  ~Rounding() {
    if (changed_) __builtin_ia32_ldmxcsr(saved_);
  }
  Rounding(const Rounding&) = delete;
  Rounding& operator=(const Rounding&) = delete;

 private:
  const bool changed_;
  unsigned saved_ = 0;
};

// Applies what follows a computation: flush to zero, then saturation to [0, 1] with NaN to 0.
template <class T>
void finish(T* x, unsigned flags) {
  if constexpr (sizeof(T) == 4) {
    if ((flags & kFtz) != 0) FARCALL_LANES x[l] = flush(x[l]);
  }
  if ((flags & kSat) != 0) {
    FARCALL_LANES x[l] = x[l] > T{0} ? (x[l] < T{1} ? x[l] : T{1}) : T{0};
  }
}

}  // namespace
}  // namespace farcall::softgpu
