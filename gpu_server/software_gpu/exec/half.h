// f16 and bf16 as numbers.
//
//   float x = to_float<F16>(0x3c00);                         // 1
//   std::uint32_t bits = encode<F16>(0.1, kRoundNearest);    // rounded once, from f64
//
// Not for isa/: functions with external linkage must not exist once per instruction set.
// Threads: any.
#pragma once
#include <cmath>
#include <cstdint>

#include "gpu_server/software_gpu/exec/code.h"

namespace farcall::softgpu {

struct F16 {
  static constexpr int kExponentBits = 5, kMantissaBits = 10;
};
struct Bf16 {
  static constexpr int kExponentBits = 8, kMantissaBits = 7;
};

// Exact: every value of both formats is one of f32. A NaN keeps its sign only.
template <class Fmt>
inline float to_float(std::uint32_t bits) {
  constexpr int kShift = 23 - Fmt::kMantissaBits;
  constexpr std::uint32_t kExponentMax = (1u << Fmt::kExponentBits) - 1;
  constexpr std::uint32_t kRebias = 127 - kExponentMax / 2;
  const std::uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  const std::uint32_t exponent = magnitude >> Fmt::kMantissaBits;
  const auto from = [&](std::uint32_t x) { return __builtin_bit_cast(float, sign | x); };
  if (exponent == kExponentMax) {
    return from(magnitude == kExponentMax << Fmt::kMantissaBits ? 0x7f800000u : 0x7fc00000u);
  }
  if (exponent != 0 || kRebias == 0) return from((magnitude << kShift) + (kRebias << 23));
  const auto value = static_cast<float>(magnitude) *
                     (1.0f / static_cast<float>(1u << (kExponentMax / 2 - 1))) *
                     (1.0f / static_cast<float>(1u << Fmt::kMantissaBits));
  return from(__builtin_bit_cast(std::uint32_t, value));
}
// A bf16 is the upper half of an f32, subnormals too.
template <>
inline float to_float<Bf16>(std::uint32_t bits) {
  const bool nan = (bits & 0x7fffu) > 0x7f80u;
  return __builtin_bit_cast(float, (nan ? (bits & 0x8000u) | 0x7fc0u : bits & 0xffffu) << 16);
}

inline double round_whole(double x, unsigned mode) {
  switch (mode & kRoundMask) {
    case kRoundZero: return std::trunc(x);
    case kRoundDown: return std::floor(x);
    case kRoundUp: return std::ceil(x);
    default: return std::nearbyint(x);
  }
}

// `flags`: rounding, kSat, kRelu, kFtz of an instruction.
template <class Fmt>
std::uint32_t encode(double x, unsigned flags) {
  constexpr int kM = Fmt::kMantissaBits;
  constexpr int kExponentMax = (1 << Fmt::kExponentBits) - 1;
  constexpr int kBias = kExponentMax / 2;
  constexpr std::uint32_t kInfinity = static_cast<std::uint32_t>(kExponentMax) << kM;
  if ((flags & kSat) != 0) x = x > 0 ? (x < 1 ? x : 1) : 0;
  if (x != x) return 0x7fff;
  if ((flags & kRelu) != 0 && x < 0) x = 0;
  const std::uint32_t sign = std::signbit(x) ? 0x8000u : 0;
  if (std::isinf(x)) return sign | kInfinity;
  if (x == 0) return sign;
  const int lowest = 1 - kBias;
  const int exponent = std::ilogb(x) > lowest ? std::ilogb(x) : lowest;
  // In units of the last place, rounded with the sign on: so that down and up mean what they say.
  const double units = std::fabs(round_whole(std::ldexp(x, kM - exponent), flags));
  if ((flags & kFtz) != 0 && units < (1 << kM)) return sign;
  auto whole = static_cast<std::uint32_t>(units);
  std::uint32_t field = whole < 1u << kM ? 0 : static_cast<std::uint32_t>(exponent + kBias);
  if (whole >= 2u << kM) {
    whole >>= 1;
    ++field;
  }
  if (field >= static_cast<std::uint32_t>(kExponentMax)) {
    const unsigned mode = flags & kRoundMask;
    const bool stays =
        mode == kRoundZero || (mode == kRoundDown && sign == 0) || (mode == kRoundUp && sign != 0);
    return sign | (stays ? kInfinity - 1 : kInfinity);
  }
  return sign | field << kM | (whole & ((1u << kM) - 1));
}

}  // namespace farcall::softgpu
