// Lane-by-lane handlers that gain nothing from vector instructions: division, bit fields, carries,
// saturation.
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

// A device gives all ones for a division by zero instead of stopping.
struct Div {
  template <class T>
  static T f(T x, T y) {
    if (y == 0) return static_cast<T>(~T{0});
    if (static_cast<T>(~T{0}) < T{0} && y == static_cast<T>(~T{0})) {
      return static_cast<T>(u64{0} - static_cast<u64>(x));  // the smallest number by -1 wraps
    }
    return static_cast<T>(x / y);
  }
};
struct Rem {
  template <class T>
  static T f(T x, T y) {
    if (y == 0) return x;
    if (static_cast<T>(~T{0}) < T{0} && y == static_cast<T>(~T{0})) return T{0};
    return static_cast<T>(x % y);
  }
};
struct Sad {
  template <class T, class U>
  static U f(T x, T y, U z) {
    return static_cast<U>(
        (x < y ? static_cast<U>(y) - static_cast<U>(x) : static_cast<U>(x) - static_cast<U>(y)) +
        z);
  }
};

struct Bfind {
  static u32 f(u32 x) { return x == 0 ? ~0u : 31u - static_cast<u32>(__builtin_clz(x)); }
  static u32 f(u64 x) { return x == 0 ? ~0u : 63u - static_cast<u32>(__builtin_clzll(x)); }
  // The highest bit that differs from the sign.
  static u32 f(s32 x) { return f(static_cast<u32>(x < 0 ? ~x : x)); }
  static u32 f(s64 x) { return f(static_cast<u64>(x < 0 ? ~x : x)); }
};
// The shift that brings that bit to the top.
template <class T>
struct BfindShift {
  static u32 f(T x) {
    const u32 at = Bfind::f(x);
    return at == ~0u ? at : static_cast<u32>(8 * sizeof(T) - 1) - at;
  }
};

template <class T>
struct Bfe {
  static T f(T x, u32 position, u32 length) {
    constexpr u32 kBits = 8 * sizeof(T);
    const u32 pos = position & 0xff, len = length & 0xff;
    const u64 bits = static_cast<u64>(x) & (kBits == 64 ? ~u64{0} : 0xffffffffu);
    const bool is_signed = static_cast<T>(~T{0}) < T{0};
    const u32 last = pos + len - 1 < kBits - 1 ? pos + len - 1 : kBits - 1;
    const bool sign = is_signed && len != 0 && (bits >> last & 1u) != 0;
    const u64 moved = pos < kBits ? bits >> pos : 0;
    // Bits of the field that exist; above them comes the sign.
    const u32 have = pos >= kBits ? 0 : len < kBits - pos ? len : kBits - pos;
    const u64 mask = have >= 64 ? ~u64{0} : (u64{1} << have) - 1;
    return static_cast<T>((moved & mask) | (sign ? ~mask : u64{0}));
  }
};

template <class T>
T insert_bits(T value, T into, u32 position, u32 length) {
  constexpr u32 kBits = 8 * sizeof(T);
  const u32 pos = position & 0xff, len = length & 0xff;
  if (pos >= kBits || len == 0) return into;
  const T field = len >= kBits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << len) - 1);
  const T mask = static_cast<T>(field << pos);
  return static_cast<T>((into & ~mask) | (static_cast<T>(value << pos) & mask));
}

template <class T>
const Ins* bfi(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    put<false, T>(row<T>(r, i->d), l,
                  insert_bits<T>(row<T>(r, i->a)[l], row<T>(r, i->b)[l], row<u32>(r, i->c)[l],
                                 row<u32>(r, i->e)[l]),
                  w.lanes);
  }
  return i + 1;
}

u32 bit_mask(u32 start, u32 width, bool wrap) {
  const u32 a = start & 31, b = width & 31;
  if (!wrap && start >= 32) return 0;
  const u32 from = ~0u << a;
  const u32 end = a + b;
  const bool to_the_top = end >= 32 || (!wrap && width >= 32);
  const u32 above = to_the_top ? 0 : ~0u << end;
  return from & ~above;
}

const Ins* bmsk(Warp& w, const Ins* i, std::byte* r) {
  const bool wrap = (i->flags & kWrap) != 0;
  for (int l = 0; l < kLanes; ++l) {
    put<false, u32>(row<u32>(r, i->d), l,
                    bit_mask(row<u32>(r, i->a)[l], row<u32>(r, i->b)[l], wrap), w.lanes);
  }
  return i + 1;
}

// The byte selector of each result byte, by mode; -1 takes it from c.
u32 permute(u32 a, u32 b, u32 c, unsigned mode) {
  const u64 bytes = static_cast<u64>(b) << 32 | a;
  const u32 n = c & 3;
  u32 result = 0;
  for (u32 k = 0; k < 4; ++k) {
    u32 pick = 0;
    switch (mode) {
      case 1: pick = n + k; break;                  // f4e
      case 2: pick = (n - k) & 7; break;            // b4e
      case 3: pick = n; break;                      // rc8
      case 4: pick = k > n ? k : n; break;          // ecl
      case 5: pick = k < n ? k : n; break;          // ecr
      case 6: pick = (n & 1) * 2 + (k & 1); break;  // rc16
      default: pick = c >> (4 * k) & 15; break;
    }
    u32 byte = static_cast<u32>(bytes >> (8 * (pick & 7)) & 0xff);
    if (mode == 0 && (pick & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
    result |= byte << (8 * k);
  }
  return result;
}

const Ins* prmt(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    put<false, u32>(
        row<u32>(r, i->d), l,
        permute(row<u32>(r, i->a)[l], row<u32>(r, i->b)[l], row<u32>(r, i->c)[l], i->detail),
        w.lanes);
  }
  return i + 1;
}

template <bool kLeft>
const Ins* funnel(Warp& w, const Ins* i, std::byte* r) {
  const bool wrap = (i->flags & kWrap) != 0;
  for (int l = 0; l < kLanes; ++l) {
    const u64 both = static_cast<u64>(row<u32>(r, i->b)[l]) << 32 | row<u32>(r, i->a)[l];
    const u32 amount = row<u32>(r, i->c)[l];
    const u32 n = wrap ? amount & 31 : amount > 32 ? 32 : amount;
    const u64 moved = kLeft ? both << n >> 32 : both >> n;
    put<false, u32>(row<u32>(r, i->d), l, static_cast<u32>(moved), w.lanes);
  }
  return i + 1;
}

template <class T, bool kAdds>
const Ins* mul24(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    const s64 a = static_cast<s64>(static_cast<T>(row<u32>(r, i->a)[l] << 8)) >> 8;
    const s64 b = static_cast<s64>(static_cast<T>(row<u32>(r, i->b)[l] << 8)) >> 8;
    const s64 product = a * b;
    u32 x = static_cast<u32>((i->flags & kAnyFlag) != 0 ? product >> 16 : product);
    if (kAdds) x += row<u32>(r, i->c)[l];
    put<false, u32>(row<u32>(r, i->d), l, x, w.lanes);
  }
  return i + 1;
}

const Ins* dp4a(Warp& w, const Ins* i, std::byte* r) {
  const auto byte = [](u32 x, unsigned k, bool sign) {
    const u32 b = x >> (8 * k) & 0xff;
    return sign ? static_cast<s32>(static_cast<s8>(b)) : static_cast<s32>(b);
  };
  for (int l = 0; l < kLanes; ++l) {
    u32 sum = row<u32>(r, i->c)[l];
    for (unsigned k = 0; k < 4; ++k) {
      sum += static_cast<u32>(byte(row<u32>(r, i->a)[l], k, (i->detail & 1) != 0) *
                              byte(row<u32>(r, i->b)[l], k, (i->detail & 2) != 0));
    }
    put<false, u32>(row<u32>(r, i->d), l, sum, w.lanes);
  }
  return i + 1;
}

enum class VideoOp : u8 { kAdd, kSub, kAverage, kAbsDiff, kMin, kMax };

s64 video_part(VideoOp op, s64 a, s64 b) {
  switch (op) {
    case VideoOp::kAdd: return a + b;
    case VideoOp::kSub: return a - b;
    case VideoOp::kAverage: return (a + b + (a + b >= 0 ? 1 : 0)) >> 1;
    case VideoOp::kAbsDiff: return a < b ? b - a : a - b;
    case VideoOp::kMin: return a < b ? a : b;
    default: return a > b ? a : b;
  }
}

// See FunctionDecoder::video.
const Ins* video(Warp& w, const Ins* i, std::byte* r) {
  const unsigned bits = i->detail;
  const auto part = [bits](u32 x, unsigned k, bool sign) {
    const u32 lifted = x >> (bits * k) << (32 - bits);
    return sign ? s64{static_cast<s32>(lifted) >> (32 - bits)} : s64{lifted >> (32 - bits)};
  };
  const bool gives_signed = (i->table & 4) != 0;
  const s64 low = gives_signed ? -(s64{1} << (bits - 1)) : 0;
  const s64 high = (s64{1} << (gives_signed ? bits - 1 : bits)) - 1;
  for (int l = 0; l < kLanes; ++l) {
    u32 word = 0, sum = row<u32>(r, i->c)[l];
    for (unsigned k = 0; k < 32 / bits; ++k) {
      const s64 a = part(row<u32>(r, i->a)[l], k, (i->table & 1) != 0);
      const s64 b = part(row<u32>(r, i->b)[l], k, (i->table & 2) != 0);
      s64 x = video_part(static_cast<VideoOp>(i->detail2), a, b);
      if ((i->flags & kSat) != 0) x = x < low ? low : x > high ? high : x;
      const u32 kept = static_cast<u32>(x) << (32 - bits) >> (32 - bits);
      word |= kept << (bits * k);
      sum += static_cast<u32>(part(kept, 0, gives_signed));
    }
    put<false, u32>(row<u32>(r, i->d), l, (i->table & 8) != 0 ? sum : word, w.lanes);
  }
  return i + 1;
}

const Ins* dp2a(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    u32 sum = row<u32>(r, i->c)[l];
    for (unsigned k = 0; k < 2; ++k) {
      const u32 half = row<u32>(r, i->a)[l] >> (16 * k) & 0xffff;
      const u32 byte = row<u32>(r, i->b)[l] >> (8 * (k + ((i->detail & 4) != 0 ? 2 : 0))) & 0xff;
      const s32 a = (i->detail & 1) != 0 ? static_cast<s16>(half) : static_cast<s32>(half);
      const s32 b = (i->detail & 2) != 0 ? static_cast<s8>(byte) : static_cast<s32>(byte);
      sum += static_cast<u32>(a * b);
    }
    put<false, u32>(row<u32>(r, i->d), l, sum, w.lanes);
  }
  return i + 1;
}

// See FunctionDecoder::carry.
template <class T, class W, class S>
const Ins* carry(Warp& w, const Ins* i, std::byte* r) {
  constexpr u32 kBits = 8 * sizeof(T);
  u32& flags = pred(r, i->e);
  u32 out = flags;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const T a = row<T>(r, i->a)[l], b = row<T>(r, i->b)[l], c = row<T>(r, i->c)[l];
    const W in = (i->detail2 & 1) != 0 && (flags >> l & 1u) != 0 ? 1 : 0;
    W sum = 0;
    if (i->detail == 0) sum = static_cast<W>(a) + b + in;
    if (i->detail == 1) sum = static_cast<W>(a) - b - in;
    if (i->detail >= 2) {
      const W product =
          (i->flags & kAnyFlag) != 0
              ? static_cast<W>(static_cast<S>(static_cast<W>(a) << kBits) >> kBits) *
                    static_cast<W>(static_cast<S>(static_cast<W>(b) << kBits) >> kBits)
              : static_cast<W>(a) * b;
      const T part = static_cast<T>(i->detail == 3 ? product >> kBits : product);
      sum = static_cast<W>(part) + c + in;
    }
    row<T>(r, i->d)[l] = static_cast<T>(sum);
    const u32 bit = static_cast<u32>(sum >> kBits & 1) << l;
    out = (out & ~(1u << l)) | bit;
  }
  if ((i->detail2 & 2) != 0) flags = out;
  return i + 1;
}

struct AddSat {
  static s32 f(s32 x, s32 y) {
    const s64 sum = static_cast<s64>(x) + y;
    return sum > 0x7fffffff         ? 0x7fffffff
           : sum < -s64{0x80000000} ? -0x7fffffff - 1
                                    : static_cast<s32>(sum);
  }
};
struct SubSat {
  static s32 f(s32 x, s32 y) {
    const s64 sum = static_cast<s64>(x) - y;
    return sum > 0x7fffffff         ? 0x7fffffff
           : sum < -s64{0x80000000} ? -0x7fffffff - 1
                                    : static_cast<s32>(sum);
  }
};

// cvt.sat among integers.
template <class D>
struct Clamp {
  template <class A>
  static D f(A x) {
    constexpr bool kSigned = static_cast<D>(~D{0}) < D{0};
    constexpr unsigned kBits = 8 * sizeof(D);
    const __int128 high = (static_cast<__int128>(1) << (kSigned ? kBits - 1 : kBits)) - 1;
    const __int128 low = kSigned ? -high - 1 : 0;
    const __int128 value = x;
    return static_cast<D>(value < low ? low : value > high ? high : value);
  }
};

#define FARCALL_BOTH(op, ty, ...) \
  { handler_key(op, ty), __VA_ARGS__, __VA_ARGS__ }
#define FARCALL_DIVISION(op, F)                                    \
  FARCALL_BOTH(op, Ty::kU16, binary<F, u16, u16, u16, false>),     \
      FARCALL_BOTH(op, Ty::kS16, binary<F, s16, s16, s16, false>), \
      FARCALL_BOTH(op, Ty::kU32, binary<F, u32, u32, u32, false>), \
      FARCALL_BOTH(op, Ty::kS32, binary<F, s32, s32, s32, false>), \
      FARCALL_BOTH(op, Ty::kU64, binary<F, u64, u64, u64, false>), \
      FARCALL_BOTH(op, Ty::kS64, binary<F, s64, s64, s64, false>)
#define FARCALL_CLAMP(to, D, ty, A)                                                             \
  {                                                                                             \
    handler_key(Op::kAddSat, to, 32 + static_cast<unsigned>(ty)), unary<Clamp<D>, D, A, false>, \
        unary<Clamp<D>, D, A, false>                                                            \
  }
#define FARCALL_CLAMPS(to, D)                                                   \
  FARCALL_CLAMP(to, D, Ty::kU8, u8), FARCALL_CLAMP(to, D, Ty::kS8, s8),         \
      FARCALL_CLAMP(to, D, Ty::kU16, u16), FARCALL_CLAMP(to, D, Ty::kS16, s16), \
      FARCALL_CLAMP(to, D, Ty::kU32, u32), FARCALL_CLAMP(to, D, Ty::kS32, s32), \
      FARCALL_CLAMP(to, D, Ty::kU64, u64), FARCALL_CLAMP(to, D, Ty::kS64, s64)

const HandlerEntry kEntries[] = {
    FARCALL_DIVISION(Op::kDiv, Div),
    FARCALL_DIVISION(Op::kRem, Rem),
    FARCALL_BOTH(Op::kSad, Ty::kU16, ternary<Sad, u16, u16, u16, u16, false>),
    FARCALL_BOTH(Op::kSad, Ty::kS16, ternary<Sad, u16, s16, s16, u16, false>),
    FARCALL_BOTH(Op::kSad, Ty::kU32, ternary<Sad, u32, u32, u32, u32, false>),
    FARCALL_BOTH(Op::kSad, Ty::kS32, ternary<Sad, u32, s32, s32, u32, false>),
    FARCALL_BOTH(Op::kSad, Ty::kU64, ternary<Sad, u64, u64, u64, u64, false>),
    FARCALL_BOTH(Op::kSad, Ty::kS64, ternary<Sad, u64, s64, s64, u64, false>),
    FARCALL_BOTH(Op::kBfind, Ty::kU32, unary<Bfind, u32, u32, false>),
    FARCALL_BOTH(Op::kBfind, Ty::kS32, unary<Bfind, u32, s32, false>),
    FARCALL_BOTH(Op::kBfind, Ty::kU64, unary<Bfind, u32, u64, false>),
    FARCALL_BOTH(Op::kBfind, Ty::kS64, unary<Bfind, u32, s64, false>),
    FARCALL_BOTH(Op::kBfindShift, Ty::kU32, unary<BfindShift<u32>, u32, u32, false>),
    FARCALL_BOTH(Op::kBfindShift, Ty::kS32, unary<BfindShift<s32>, u32, s32, false>),
    FARCALL_BOTH(Op::kBfindShift, Ty::kU64, unary<BfindShift<u64>, u32, u64, false>),
    FARCALL_BOTH(Op::kBfindShift, Ty::kS64, unary<BfindShift<s64>, u32, s64, false>),
    FARCALL_BOTH(Op::kBfe, Ty::kU32, ternary<Bfe<u32>, u32, u32, u32, u32, false>),
    FARCALL_BOTH(Op::kBfe, Ty::kS32, ternary<Bfe<s32>, s32, s32, u32, u32, false>),
    FARCALL_BOTH(Op::kBfe, Ty::kU64, ternary<Bfe<u64>, u64, u64, u32, u32, false>),
    FARCALL_BOTH(Op::kBfe, Ty::kS64, ternary<Bfe<s64>, s64, s64, u32, u32, false>),
    FARCALL_BOTH(Op::kBfi, Ty::kU32, bfi<u32>),
    FARCALL_BOTH(Op::kBfi, Ty::kU64, bfi<u64>),
    FARCALL_BOTH(Op::kBmsk, Ty::kU32, bmsk),
    FARCALL_BOTH(Op::kPrmt, Ty::kU32, prmt),
    FARCALL_BOTH(Op::kShfL, Ty::kU32, funnel<true>),
    FARCALL_BOTH(Op::kShfR, Ty::kU32, funnel<false>),
    FARCALL_BOTH(Op::kMul24, Ty::kU32, mul24<u32, false>),
    FARCALL_BOTH(Op::kMul24, Ty::kS32, mul24<s32, false>),
    FARCALL_BOTH(Op::kMad24, Ty::kU32, mul24<u32, true>),
    FARCALL_BOTH(Op::kMad24, Ty::kS32, mul24<s32, true>),
    FARCALL_BOTH(Op::kDp4a, Ty::kU32, dp4a),
    FARCALL_BOTH(Op::kDp2a, Ty::kU32, dp2a),
    FARCALL_BOTH(Op::kVideo, Ty::kU32, video),
    FARCALL_BOTH(Op::kCarry, Ty::kU32, carry<u32, u64, s64>),
    FARCALL_BOTH(Op::kCarry, Ty::kU64, carry<u64, unsigned __int128, __int128>),
    FARCALL_BOTH(Op::kAddSat, Ty::kS32, binary<AddSat, s32, s32, s32, false>),
    FARCALL_BOTH(Op::kSubSat, Ty::kS32, binary<SubSat, s32, s32, s32, false>),
    FARCALL_CLAMPS(Ty::kU8, u8),
    FARCALL_CLAMPS(Ty::kS8, s8),
    FARCALL_CLAMPS(Ty::kU16, u16),
    FARCALL_CLAMPS(Ty::kS16, s16),
    FARCALL_CLAMPS(Ty::kU32, u32),
    FARCALL_CLAMPS(Ty::kS32, s32),
    FARCALL_CLAMPS(Ty::kU64, u64),
    FARCALL_CLAMPS(Ty::kS64, s64),
};

}  // namespace

HandlerList scalar_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
