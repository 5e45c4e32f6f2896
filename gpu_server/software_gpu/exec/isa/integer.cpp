// Integer and bit handlers that vectorise: arithmetic, logic, shifts, bit fields, selection.
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"

namespace farcall::softgpu {
namespace {

// Sub-word products are formed in 32 bits: u16 operands would promote to int and could overflow it.
template <class T>
struct Wide {
  using Type = u32;
};
template <>
struct Wide<u64> {
  using Type = u64;
};

#define FARCALL_BINARY_OP(Name, expression) \
  struct Name {                             \
    template <class T>                      \
    static T f(T x, T y) {                  \
      using W = typename Wide<T>::Type;     \
      const W a = x, b = y;                 \
      return static_cast<T>(expression);    \
    }                                       \
  };
FARCALL_BINARY_OP(Add, a + b)
FARCALL_BINARY_OP(Sub, a - b)
FARCALL_BINARY_OP(Mul, a* b)
FARCALL_BINARY_OP(And, a& b)
FARCALL_BINARY_OP(Or, a | b)
FARCALL_BINARY_OP(Xor, a ^ b)

struct Min {
  template <class T>
  static T f(T x, T y) {
    return x < y ? x : y;
  }
};
struct Max {
  template <class T>
  static T f(T x, T y) {
    return x > y ? x : y;
  }
};
struct Not {
  template <class T>
  static T f(T x) {
    return static_cast<T>(~x);
  }
};
struct Cnot {
  template <class T>
  static T f(T x) {
    return x == 0 ? T{1} : T{0};
  }
};
struct Copy {
  template <class T>
  static T f(T x) {
    return x;
  }
};
struct Neg {
  template <class T>
  static T f(T x) {
    return static_cast<T>(T{0} - x);
  }
};
// Of the unsigned type, so that the smallest number is its own absolute value without overflow.
template <class S>
struct Abs {
  template <class T>
  static T f(T x) {
    return static_cast<S>(x) < 0 ? static_cast<T>(T{0} - x) : x;
  }
};
struct Mad {
  template <class T>
  static T f(T x, T y, T z) {
    using W = typename Wide<T>::Type;
    return static_cast<T>(static_cast<W>(x) * static_cast<W>(y) + static_cast<W>(z));
  }
};
template <class W>
struct MulWide {
  template <class T>
  static W f(T x, T y) {
    return static_cast<W>(static_cast<W>(x) * static_cast<W>(y));
  }
};
// W is signed for signed sources, U the same size unsigned, where the sum may wrap.
template <class W, class U>
struct MadWide {
  template <class T>
  static U f(T x, T y, U z) {
    return static_cast<U>(static_cast<U>(static_cast<W>(x) * static_cast<W>(y)) + z);
  }
};
template <class W>
struct MulHi {
  template <class T>
  static T f(T x, T y) {
    return static_cast<T>(static_cast<W>(static_cast<W>(x) * static_cast<W>(y)) >> (8 * sizeof(T)));
  }
};
// The high half plus z; z as T.
template <class W, class U>
struct MadHi {
  template <class T>
  static T f(T x, T y, T z) {
    return static_cast<T>(static_cast<U>(MulHi<W>::f(x, y)) + static_cast<U>(z));
  }
};

// Amounts at or above the width shift everything out.
struct Shl {
  template <class T>
  static T f(T x, u32 n) {
    using W = typename Wide<T>::Type;
    constexpr u32 kBits = 8 * sizeof(T);
    const W shifted = static_cast<W>(static_cast<W>(x) << (n & (8 * sizeof(W) - 1)));
    return n < kBits ? static_cast<T>(shifted) : T{0};
  }
};
struct ShrU {
  template <class T>
  static T f(T x, u32 n) {
    constexpr u32 kBits = 8 * sizeof(T);
    return n < kBits ? static_cast<T>(x >> (n & (kBits - 1))) : T{0};
  }
};
struct ShrS {
  template <class T>
  static T f(T x, u32 n) {
    constexpr u32 kLast = 8 * sizeof(T) - 1;
    return static_cast<T>(x >> (n < kLast ? n : kLast));
  }
};

struct Popc {
  template <class T>
  static u32 f(T x) {
    return static_cast<u32>(__builtin_popcountll(x));
  }
};
struct Clz32 {
  static u32 f(u32 x) { return x == 0 ? 32 : static_cast<u32>(__builtin_clz(x)); }
};
struct Clz64 {
  static u32 f(u64 x) { return x == 0 ? 64 : static_cast<u32>(__builtin_clzll(x)); }
};
struct Brev {
  template <class T>
  static T f(T x) {
    x = static_cast<T>((x >> 1 & static_cast<T>(0x5555555555555555)) |
                       (x & static_cast<T>(0x5555555555555555)) << 1);
    x = static_cast<T>((x >> 2 & static_cast<T>(0x3333333333333333)) |
                       (x & static_cast<T>(0x3333333333333333)) << 2);
    x = static_cast<T>((x >> 4 & static_cast<T>(0x0f0f0f0f0f0f0f0f)) |
                       (x & static_cast<T>(0x0f0f0f0f0f0f0f0f)) << 4);
    if constexpr (sizeof(T) == 8)
      return __builtin_bswap64(x);
    else
      return __builtin_bswap32(x);
  }
};

template <class T, bool kFull>
const Ins* selp(Warp& w, const Ins* i, std::byte* r) {
  Row<T>* d = row<T>(r, i->d);
  const Row<T>* a = row<T>(r, i->a);
  const Row<T>* b = row<T>(r, i->b);
  const u32 p = pred(r, i->c);
  FARCALL_LANES put<kFull, T>(d, l, (p & (1u << l)) != 0 ? a[l] : b[l], w.lanes);
  return i + 1;
}

template <bool kFull>
const Ins* lop3(Warp& w, const Ins* i, std::byte* r) {
  Row<u32>* d = row<u32>(r, i->d);
  const Row<u32>* a = row<u32>(r, i->a);
  const Row<u32>* b = row<u32>(r, i->b);
  const Row<u32>* c = row<u32>(r, i->c);
  u32 term[8];
  for (u32 k = 0; k < 8; ++k) term[k] = (i->detail >> k & 1u) != 0 ? ~0u : 0u;
  FARCALL_LANES {
    const u32 x = a[l], y = b[l], z = c[l];
    const u32 low =
        (~y & ((~z & term[0]) | (z & term[1]))) | (y & ((~z & term[2]) | (z & term[3])));
    const u32 high =
        (~y & ((~z & term[4]) | (z & term[5]))) | (y & ((~z & term[6]) | (z & term[7])));
    put<kFull, u32>(d, l, (~x & low) | (x & high), w.lanes);
  }
  return i + 1;
}

using MadHiS128 = MadHi<__int128, u64>;
using MadHiS64 = MadHi<s64, u32>;
using MadHiU64 = MadHi<u64, u32>;
using MadHiU128 = MadHi<unsigned __int128, u64>;
using MadWideS32 = MadWide<s32, u32>;
using MadWideS64 = MadWide<s64, u64>;
using MadWideU32 = MadWide<u32, u32>;
using MadWideU64 = MadWide<u64, u64>;

#define FARCALL_SAME2(op, F)                                                                      \
  FARCALL_BINARY(op, Ty::kU16, F, u16, u16, u16), FARCALL_BINARY(op, Ty::kU32, F, u32, u32, u32), \
      FARCALL_BINARY(op, Ty::kU64, F, u64, u64, u64)
#define FARCALL_SIGNED2(op, F)                                                                    \
  FARCALL_BINARY(op, Ty::kS16, F, s16, s16, s16), FARCALL_BINARY(op, Ty::kS32, F, s32, s32, s32), \
      FARCALL_BINARY(op, Ty::kS64, F, s64, s64, s64)
#define FARCALL_SAME1(op, F)                                                          \
  FARCALL_UNARY(op, Ty::kU16, F, u16, u16), FARCALL_UNARY(op, Ty::kU32, F, u32, u32), \
      FARCALL_UNARY(op, Ty::kU64, F, u64, u64)
#define FARCALL_SHIFT(op, ty, F, T) FARCALL_BINARY(op, ty, F, T, T, u32)

const HandlerEntry kEntries[] = {
    FARCALL_SAME2(Op::kAdd, Add),
    FARCALL_SAME2(Op::kSub, Sub),
    FARCALL_SAME2(Op::kMul, Mul),
    FARCALL_SAME2(Op::kAnd, And),
    FARCALL_SAME2(Op::kOr, Or),
    FARCALL_SAME2(Op::kXor, Xor),
    FARCALL_SAME2(Op::kMin, Min),
    FARCALL_SIGNED2(Op::kMin, Min),
    FARCALL_SAME2(Op::kMax, Max),
    FARCALL_SIGNED2(Op::kMax, Max),
    FARCALL_SAME1(Op::kNot, Not),
    FARCALL_SAME1(Op::kCnot, Cnot),
    FARCALL_SAME1(Op::kNeg, Neg),
    FARCALL_UNARY(Op::kMov, Ty::kU32, Copy, u32, u32),
    FARCALL_UNARY(Op::kMov, Ty::kU64, Copy, u64, u64),
    FARCALL_UNARY(Op::kAbs, Ty::kS16, Abs<s16>, u16, u16),
    FARCALL_UNARY(Op::kAbs, Ty::kS32, Abs<s32>, u32, u32),
    FARCALL_UNARY(Op::kAbs, Ty::kS64, Abs<s64>, u64, u64),
    FARCALL_TERNARY(Op::kMad, Ty::kU16, Mad, u16, u16, u16, u16),
    FARCALL_TERNARY(Op::kMad, Ty::kU32, Mad, u32, u32, u32, u32),
    FARCALL_TERNARY(Op::kMad, Ty::kU64, Mad, u64, u64, u64, u64),
    FARCALL_BINARY(Op::kMulWide, Ty::kU16, MulWide<u32>, u32, u16, u16),
    FARCALL_BINARY(Op::kMulWide, Ty::kS16, MulWide<s32>, s32, s16, s16),
    FARCALL_BINARY(Op::kMulWide, Ty::kU32, MulWide<u64>, u64, u32, u32),
    FARCALL_BINARY(Op::kMulWide, Ty::kS32, MulWide<s64>, s64, s32, s32),
    FARCALL_TERNARY(Op::kMadWide, Ty::kU16, MadWideU32, u32, u16, u16, u32),
    FARCALL_TERNARY(Op::kMadWide, Ty::kS16, MadWideS32, u32, s16, s16, u32),
    FARCALL_TERNARY(Op::kMadWide, Ty::kU32, MadWideU64, u64, u32, u32, u64),
    FARCALL_TERNARY(Op::kMadWide, Ty::kS32, MadWideS64, u64, s32, s32, u64),
    FARCALL_BINARY(Op::kMulHi, Ty::kU16, MulHi<u32>, u16, u16, u16),
    FARCALL_BINARY(Op::kMulHi, Ty::kS16, MulHi<s32>, s16, s16, s16),
    FARCALL_BINARY(Op::kMulHi, Ty::kU32, MulHi<u64>, u32, u32, u32),
    FARCALL_BINARY(Op::kMulHi, Ty::kS32, MulHi<s64>, s32, s32, s32),
    FARCALL_BINARY(Op::kMulHi, Ty::kU64, MulHi<unsigned __int128>, u64, u64, u64),
    FARCALL_BINARY(Op::kMulHi, Ty::kS64, MulHi<__int128>, s64, s64, s64),
    FARCALL_TERNARY(Op::kMadHi, Ty::kU32, MadHiU64, u32, u32, u32, u32),
    FARCALL_TERNARY(Op::kMadHi, Ty::kS32, MadHiS64, s32, s32, s32, s32),
    FARCALL_TERNARY(Op::kMadHi, Ty::kU64, MadHiU128, u64, u64, u64, u64),
    FARCALL_TERNARY(Op::kMadHi, Ty::kS64, MadHiS128, s64, s64, s64, s64),
    FARCALL_SHIFT(Op::kShl, Ty::kU16, Shl, u16),
    FARCALL_SHIFT(Op::kShl, Ty::kU32, Shl, u32),
    FARCALL_SHIFT(Op::kShl, Ty::kU64, Shl, u64),
    FARCALL_SHIFT(Op::kShr, Ty::kU16, ShrU, u16),
    FARCALL_SHIFT(Op::kShr, Ty::kU32, ShrU, u32),
    FARCALL_SHIFT(Op::kShr, Ty::kU64, ShrU, u64),
    FARCALL_SHIFT(Op::kShr, Ty::kS16, ShrS, s16),
    FARCALL_SHIFT(Op::kShr, Ty::kS32, ShrS, s32),
    FARCALL_SHIFT(Op::kShr, Ty::kS64, ShrS, s64),
    FARCALL_UNARY(Op::kPopc, Ty::kU32, Popc, u32, u32),
    FARCALL_UNARY(Op::kPopc, Ty::kU64, Popc, u32, u64),
    FARCALL_UNARY(Op::kClz, Ty::kU32, Clz32, u32, u32),
    FARCALL_UNARY(Op::kClz, Ty::kU64, Clz64, u32, u64),
    FARCALL_UNARY(Op::kBrev, Ty::kU32, Brev, u32, u32),
    FARCALL_UNARY(Op::kBrev, Ty::kU64, Brev, u64, u64),
    {handler_key(Op::kSelp, Ty::kU32), selp<u32, true>, selp<u32, false>},
    {handler_key(Op::kSelp, Ty::kU64), selp<u64, true>, selp<u64, false>},
    {handler_key(Op::kLop3, Ty::kU32), lop3<true>, lop3<false>},
};

}  // namespace

namespace FARCALL_ISA {
HandlerList integer_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
