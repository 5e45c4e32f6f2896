// f16 as bits of f32 and back, the same in every instruction set.
//
//   u32 x = half_to_bits(0x3c00);      // 1.0f
//   u32 half = half_from_bits(x);
//
// In an unnamed namespace, as lanes.h, and for the same reason.  Threads: any.
#pragma once
#include "gpu_server/software_gpu/exec/isa/lanes.h"

namespace farcall::softgpu {
namespace {

// A NaN keeps its sign only.
inline u32 half_to_bits(u32 half) {
  const u32 magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
  // Exact, subnormals too: the exponents' bases are 112 apart.
  const f32 value = __builtin_bit_cast(f32, magnitude << 13) * 0x1p112f;
  const u32 special = magnitude > 0x7c00u ? 0x7fc00000u : 0x7f800000u;
  return sign | (magnitude >= 0x7c00u ? special : __builtin_bit_cast(u32, value));
}

// To nearest, ties to even; any NaN becomes the canonical one.
inline u32 half_from_bits(u32 bits) {
  const u32 sign = bits >> 16 & 0x8000u, m = bits & 0x7fffffffu;
  // Below 2^-14 a sum with 0.5 leaves units of 2^-24, rounded, in its last bits.
  const f32 small = __builtin_bit_cast(f32, m) + 0.5f;
  const u32 subnormal = __builtin_bit_cast(u32, small) - 0x3f000000u;
  const u32 normal = (m - 0x38000000u + 0xfffu + (m >> 13 & 1u)) >> 13;
  const u32 finite = m < 0x38800000u ? subnormal : normal;
  const u32 magnitude = m >= 0x47800000u ? 0x7c00u : finite;
  return m > 0x7f800000u ? 0x7fffu : sign | magnitude;
}

}  // namespace
}  // namespace farcall::softgpu
