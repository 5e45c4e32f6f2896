// f16 and bf16, single and packed in pairs: computed in f64, rounded once to the result.
#include "gpu_server/software_gpu/exec/half.h"

#include <cmath>

#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/rounding.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

template <class Fmt>
f64 decode(u32 bits) {
  return static_cast<f64>(to_float<Fmt>(bits));
}

// x * y + z so that a later rounding to few bits is right: where the sum is not exact, its last bit
// is made odd (no tie can appear that was none).
f64 fma_odd(f64 x, f64 y, f64 z) {
  const f64 p = x * y;  // exact: both have at most 11 bits
  const f64 s = p + z;
  const f64 z_part = s - p;
  const f64 error = (p - (s - z_part)) + (z - z_part);
  const u64 bits = bits_of(s);
  if (error == 0 || error != error || (bits & 1) != 0) return s;
  return from_bits((error > 0) == (s > 0) ? bits + 1 : bits - 1);
}

struct Add {
  static f64 f(f64 x, f64 y, f64) { return x + y; }
};
struct Sub {
  static f64 f(f64 x, f64 y, f64) { return x - y; }
};
struct Mul {
  static f64 f(f64 x, f64 y, f64) { return x * y; }
};
struct Fma {
  static f64 f(f64 x, f64 y, f64 z) { return fma_odd(x, y, z); }
};
struct Min {
  static f64 f(f64 x, f64 y, f64) {
    if (x == y) return std::signbit(x) ? x : y;
    return x < y || y != y ? x : y;
  }
};
struct Max {
  static f64 f(f64 x, f64 y, f64) {
    if (x == y) return std::signbit(x) ? y : x;
    return x > y || y != y ? x : y;
  }
};
struct Ex2 {
  static f64 f(f64 x, f64, f64) { return std::exp2(x); }
};
struct Tanh {
  static f64 f(f64 x, f64, f64) { return std::tanh(x); }
};

template <class Fmt>
f64 operand_of(u32 bits, unsigned flags) {
  const f64 x = decode<Fmt>(bits & 0xffff);
  constexpr u32 kExponent = ((1u << Fmt::kExponentBits) - 1) << Fmt::kMantissaBits;
  return (flags & kFtz) != 0 && (bits & kExponent) == 0 ? x * 0 : x;
}

template <class F, class Fmt, int kParts>
const Ins* arithmetic(Warp& w, const Ins* i, std::byte* r) {
  constexpr bool kPicks = __is_same(F, Min) || __is_same(F, Max);
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u32 a = row<u32>(r, i->a)[l], b = row<u32>(r, i->b)[l], c = row<u32>(r, i->c)[l];
    u32 result = 0;
    for (int part = 0; part < kParts; ++part) {
      const f64 x = operand_of<Fmt>(a >> (16 * part), i->flags);
      const f64 y = operand_of<Fmt>(b >> (16 * part), i->flags);
      const f64 z = operand_of<Fmt>(c >> (16 * part), i->flags);
      f64 value = F::f(x, y, z);
      if (kPicks && (i->flags & kNanMin) != 0 && (x != x || y != y)) value = __builtin_nan("");
      result |= encode<Fmt>(value, i->flags) << (16 * part);
    }
    row<u32>(r, i->d)[l] = result;
  }
  return i + 1;
}

template <u32 kAnd, u32 kXor>
const Ins* sign_bits(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    put<false, u32>(row<u32>(r, i->d), l, (row<u32>(r, i->a)[l] & kAnd) ^ kXor, w.lanes);
  }
  return i + 1;
}

template <class Fmt, unsigned kCmp>
const Ins* setp(Warp& w, const Ins* i, std::byte* r) {
  u32 found = 0;
  for (int l = 0; l < kLanes; ++l) {
    const f64 x = operand_of<Fmt>(row<u32>(r, i->a)[l], i->flags);
    const f64 y = operand_of<Fmt>(row<u32>(r, i->b)[l], i->flags);
    const bool nan = x != x || y != y;
    bool yes = false;
    switch (static_cast<Cmp>(kCmp)) {
      case Cmp::kEq: yes = x == y; break;
      case Cmp::kNe: yes = !nan && x != y; break;
      case Cmp::kLt: yes = x < y; break;
      case Cmp::kLe: yes = x <= y; break;
      case Cmp::kGt: yes = x > y; break;
      case Cmp::kGe: yes = x >= y; break;
      case Cmp::kEqu: yes = nan || x == y; break;
      case Cmp::kNeu: yes = nan || x != y; break;
      case Cmp::kLtu: yes = nan || x < y; break;
      case Cmp::kLeu: yes = nan || x <= y; break;
      case Cmp::kGtu: yes = nan || x > y; break;
      case Cmp::kGeu: yes = nan || x >= y; break;
      case Cmp::kNum: yes = !nan; break;
      case Cmp::kNan: yes = nan; break;
    }
    found |= yes ? 1u << l : 0u;
  }
  u32& p = pred(r, i->d);
  p = (p & ~w.mask) | (found & w.mask);
  return i + 1;
}

// Float or integer to a half.
template <class Fmt, class A>
const Ins* to_half(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const f64 x = static_cast<f64>(Cell<A>::get(row<A>(r, i->a)[l]));
    row<u32>(r, i->d)[l] = encode<Fmt>(x, i->flags);
  }
  return i + 1;
}

// Two f32 to a pair: a goes to the upper half.
template <class Fmt>
const Ins* to_pair(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u32 high = encode<Fmt>(static_cast<f64>(row<f32>(r, i->a)[l]), i->flags);
    const u32 low = encode<Fmt>(static_cast<f64>(row<f32>(r, i->b)[l]), i->flags);
    row<u32>(r, i->d)[l] = high << 16 | low;
  }
  return i + 1;
}

template <class Fmt, class D>
const Ins* half_to_float(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    f64 x = decode<Fmt>(row<u32>(r, i->a)[l] & 0xffff);
    if ((i->flags & kSat) != 0) x = x > 0 ? (x < 1 ? x : 1) : 0;
    row<D>(r, i->d)[l] = static_cast<D>(x);
  }
  return i + 1;
}

template <class Fmt, class D>
const Ins* half_to_int(Warp& w, const Ins* i, std::byte* r) {
  constexpr bool kSigned = static_cast<D>(~D{0}) < D{0};
  constexpr int kBits = 8 * sizeof(D);
  const f64 end = std::ldexp(1.0, kSigned ? kBits - 1 : kBits), start = kSigned ? -end : 0.0;
  const u64 top = kSigned ? (u64{1} << (kBits - 1)) - 1 : ~u64{0} >> (64 - kBits);
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const f64 x = round_whole(decode<Fmt>(row<u32>(r, i->a)[l] & 0xffff), i->flags);
    D value{0};
    if (x >= end) {
      value = static_cast<D>(top);
    } else if (x <= start) {
      value = static_cast<D>(kSigned ? ~top : 0);
    } else if (x == x) {
      value = static_cast<D>(x);
    }
    row<D>(r, i->d)[l] = Cell<D>::put(value);
  }
  return i + 1;
}

template <class From, class To>
const Ins* half_to_half(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    f64 x = decode<From>(row<u32>(r, i->a)[l] & 0xffff);
    const bool whole = (i->flags & kRoundToInt) != 0 && std::isfinite(x);
    if (whole) x = round_whole(x, i->flags);
    row<u32>(r, i->d)[l] = encode<To>(x, i->flags);
  }
  return i + 1;
}

// The low 13 bits go: rounded to nearest, ties to even or (detail 1) away from zero, or cut.
const Ins* to_tf32(Warp& w, const Ins* i, std::byte* r) {
  constexpr u32 kDropped = 0x1fffu, kHalf = 0x1000u;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    u32 x = bits_of(row<f32>(r, i->a)[l]);
    if ((x & 0x7fffffffu) > 0x7f800000u) {
      x = 0x7fffffffu;
    } else if (i->detail == 1) {
      x = (x + kHalf) & ~kDropped;
    } else if ((i->flags & kRoundMask) == kRoundNearest) {
      x = (x + kHalf - 1 + (x >> 13 & 1u)) & ~kDropped;
    } else {
      x &= ~kDropped;
    }
    row<u32>(r, i->d)[l] = i->detail2 != 0 && x >= 0x80000000u ? 0 : x;
  }
  return i + 1;
}

constexpr unsigned from(Ty type) { return static_cast<unsigned>(type); }

#define FARCALL_KEY(key, ...) \
  { key, __VA_ARGS__, __VA_ARGS__ }
#define FARCALL_HALF_OP(op, F)                                         \
  FARCALL_KEY(handler_key(op, Ty::kF16), arithmetic<F, F16, 1>),       \
      FARCALL_KEY(handler_key(op, Ty::kF16x2), arithmetic<F, F16, 2>), \
      FARCALL_KEY(handler_key(op, Ty::kBf16), arithmetic<F, Bf16, 1>), \
      FARCALL_KEY(handler_key(op, Ty::kBf16x2), arithmetic<F, Bf16, 2>)
#define FARCALL_SIGN_OP(op, keep, flip)                                                   \
  FARCALL_KEY(handler_key(op, Ty::kF16), sign_bits<keep & 0xffffu, flip & 0xffffu>),      \
      FARCALL_KEY(handler_key(op, Ty::kF16x2), sign_bits<keep, flip>),                    \
      FARCALL_KEY(handler_key(op, Ty::kBf16), sign_bits<keep & 0xffffu, flip & 0xffffu>), \
      FARCALL_KEY(handler_key(op, Ty::kBf16x2), sign_bits<keep, flip>)
#define FARCALL_HALF_CMP(n)                                       \
  FARCALL_KEY(handler_key(Op::kSetp, Ty::kF16, n), setp<F16, n>), \
      FARCALL_KEY(handler_key(Op::kSetp, Ty::kBf16, n), setp<Bf16, n>)
#define FARCALL_HALF_INT(ty, T)                                                    \
  FARCALL_KEY(handler_key(Op::kCvt, Ty::kF16, from(ty)), to_half<F16, T>),         \
      FARCALL_KEY(handler_key(Op::kCvt, Ty::kBf16, from(ty)), to_half<Bf16, T>),   \
      FARCALL_KEY(handler_key(Op::kCvt, ty, from(Ty::kF16)), half_to_int<F16, T>), \
      FARCALL_KEY(handler_key(Op::kCvt, ty, from(Ty::kBf16)), half_to_int<Bf16, T>)
#define FARCALL_HALF_FLOAT(Half, half, ty, T)                           \
  FARCALL_KEY(handler_key(Op::kCvt, half, from(ty)), to_half<Half, T>), \
      FARCALL_KEY(handler_key(Op::kCvt, ty, from(half)), half_to_float<Half, T>)

const HandlerEntry kEntries[] = {
    FARCALL_HALF_OP(Op::kAdd, Add),
    FARCALL_HALF_OP(Op::kSub, Sub),
    FARCALL_HALF_OP(Op::kMul, Mul),
    FARCALL_HALF_OP(Op::kFma, Fma),
    FARCALL_HALF_OP(Op::kMin, Min),
    FARCALL_HALF_OP(Op::kMax, Max),
    FARCALL_HALF_OP(Op::kEx2, Ex2),
    FARCALL_HALF_OP(Op::kTanh, Tanh),
    FARCALL_SIGN_OP(Op::kNeg, 0xffffffffu, 0x80008000u),
    FARCALL_SIGN_OP(Op::kAbs, 0x7fff7fffu, 0u),
    FARCALL_HALF_CMP(0),
    FARCALL_HALF_CMP(1),
    FARCALL_HALF_CMP(2),
    FARCALL_HALF_CMP(3),
    FARCALL_HALF_CMP(4),
    FARCALL_HALF_CMP(5),
    FARCALL_HALF_CMP(6),
    FARCALL_HALF_CMP(7),
    FARCALL_HALF_CMP(8),
    FARCALL_HALF_CMP(9),
    FARCALL_HALF_CMP(10),
    FARCALL_HALF_CMP(11),
    FARCALL_HALF_CMP(12),
    FARCALL_HALF_CMP(13),
    FARCALL_HALF_INT(Ty::kU8, u8),
    FARCALL_HALF_INT(Ty::kS8, s8),
    FARCALL_HALF_INT(Ty::kU16, u16),
    FARCALL_HALF_INT(Ty::kS16, s16),
    FARCALL_HALF_INT(Ty::kU32, u32),
    FARCALL_HALF_INT(Ty::kS32, s32),
    FARCALL_HALF_INT(Ty::kU64, u64),
    FARCALL_HALF_INT(Ty::kS64, s64),
    FARCALL_HALF_FLOAT(F16, Ty::kF16, Ty::kF32, f32),
    FARCALL_HALF_FLOAT(F16, Ty::kF16, Ty::kF64, f64),
    FARCALL_HALF_FLOAT(Bf16, Ty::kBf16, Ty::kF32, f32),
    FARCALL_HALF_FLOAT(Bf16, Ty::kBf16, Ty::kF64, f64),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kF32, kToTf32), to_tf32),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kF16x2, from(Ty::kF32)), to_pair<F16>),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kBf16x2, from(Ty::kF32)), to_pair<Bf16>),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kF16, from(Ty::kF16)), half_to_half<F16, F16>),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kBf16, from(Ty::kBf16)), half_to_half<Bf16, Bf16>),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kF16, from(Ty::kBf16)), half_to_half<Bf16, F16>),
    FARCALL_KEY(handler_key(Op::kCvt, Ty::kBf16, from(Ty::kF16)), half_to_half<F16, Bf16>),
};

}  // namespace

HandlerList half_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
