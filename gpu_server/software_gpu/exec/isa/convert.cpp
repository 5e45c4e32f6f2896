// cvt among integers, f32 and f64. The type of a handler is the destination's, the variant is the
// source's type, plus 16 where a rounding, flush or saturation must be read from the flags.
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/rounding.h"

namespace farcall::softgpu {
namespace {

template <class D>
struct To {
  template <class A>
  static D f(A x) {
    return static_cast<D>(x);
  }
};

template <class T>
struct Range;
#define FARCALL_RANGE(T, low, high)  \
  template <>                        \
  struct Range<T> {                  \
    static constexpr T kLow = low;   \
    static constexpr T kHigh = high; \
  };
FARCALL_RANGE(u8, 0, 0xff)
FARCALL_RANGE(u16, 0, 0xffff)
FARCALL_RANGE(u32, 0, 0xffffffffu)
FARCALL_RANGE(u64, 0, ~u64{0})
FARCALL_RANGE(s8, -128, 127)
FARCALL_RANGE(s16, -32768, 32767)
FARCALL_RANGE(s32, -2147483647 - 1, 2147483647)
FARCALL_RANGE(s64, -0x7fffffffffffffff - 1, 0x7fffffffffffffff)

inline f32 round_with(f32 x, unsigned mode) {
  switch (mode) {
    case kRoundZero: return __builtin_truncf(x);
    case kRoundDown: return __builtin_floorf(x);
    case kRoundUp: return __builtin_ceilf(x);
    default: return __builtin_rintf(x);
  }
}
inline f64 round_with(f64 x, unsigned mode) {
  switch (mode) {
    case kRoundZero: return __builtin_trunc(x);
    case kRoundDown: return __builtin_floor(x);
    case kRoundUp: return __builtin_ceil(x);
    default: return __builtin_rint(x);
  }
}

// Rounds to an integer as the flags say, into t.
template <class A>
void round_row(A* t, const Row<A>* a, unsigned flags) {
  FARCALL_LANES t[l] = a[l];
  if constexpr (sizeof(A) == 4) {
    if ((flags & kFtz) != 0) FARCALL_LANES t[l] = flush(t[l]);
  }
  switch (flags & kRoundMask) {
    case kRoundZero: FARCALL_LANES t[l] = round_with(t[l], kRoundZero); break;
    case kRoundDown: FARCALL_LANES t[l] = round_with(t[l], kRoundDown); break;
    case kRoundUp: FARCALL_LANES t[l] = round_with(t[l], kRoundUp); break;
    default: FARCALL_LANES t[l] = round_with(t[l], kRoundNearest); break;
  }
}

// Out of range gives the nearest number there is, NaN gives 0.
template <class D, class A>
const Ins* float_to_int(Warp& w, const Ins* i, std::byte* r) {
  alignas(64) A t[kLanes];
  round_row<A>(t, row<A>(r, i->a), i->flags);
  Row<D>* d = row<D>(r, i->d);
  constexpr D kLow = Range<D>::kLow, kHigh = Range<D>::kHigh;
  // The bound above kHigh is a power of two, so it is exact where kHigh itself is not.
  constexpr A kFrom = static_cast<A>(kLow);
  constexpr A kUpTo = static_cast<A>(kHigh / 2 + 1) * A{2};
  FARCALL_LANES {
    const A x = t[l];
    const bool inside = x >= kFrom && x < kUpTo;
    const D whole = static_cast<D>(inside ? x : A{0});
    put<false, D>(d, l, inside ? whole : (x >= kUpTo ? kHigh : (x < kFrom ? kLow : D{0})), w.lanes);
  }
  return i + 1;
}

// f32 → f32 and f64 → f64: rounding to an integer, flush, saturation or a plain copy.
template <class T>
const Ins* same_float(Warp& w, const Ins* i, std::byte* r) {
  alignas(64) T t[kLanes];
  if ((i->flags & kRoundToInt) != 0) {
    round_row<T>(t, row<T>(r, i->a), i->flags);
  } else {
    const Row<T>* a = row<T>(r, i->a);
    FARCALL_LANES t[l] = a[l];
  }
  finish(t, i->flags);
  Row<T>* d = row<T>(r, i->d);
  FARCALL_LANES put<false, T>(d, l, t[l], w.lanes);
  return i + 1;
}

template <class D, class A>
__attribute__((noinline)) void convert(D* d, const A* a) {
  FARCALL_LANES d[l] = static_cast<D>(a[l]);
}

// Towards a float under any flags.
template <class D, class A>
const Ins* to_float_any(Warp& w, const Ins* i, std::byte* r) {
  alignas(64) A x[kLanes];
  alignas(64) D t[kLanes];
  const Row<A>* a = row<A>(r, i->a);
  FARCALL_LANES x[l] = Cell<A>::get(a[l]);
  if constexpr (static_cast<A>(0.5f) != A{0} && sizeof(A) == 4) {
    if ((i->flags & kFtz) != 0) FARCALL_LANES x[l] = flush(x[l]);
  }
  {
    Rounding mode(i->flags);
    convert<D, A>(t, x);
  }
  finish(t, i->flags);
  Row<D>* d = row<D>(r, i->d);
  FARCALL_LANES put<false, D>(d, l, t[l], w.lanes);
  return i + 1;
}

constexpr unsigned from(Ty type) { return static_cast<unsigned>(type); }

#define FARCALL_PLAIN(to, D, ty, A) \
  { handler_key(Op::kCvt, to, from(ty)), unary<To<D>, D, A, true>, unary<To<D>, D, A, false> }
#define FARCALL_FROM_INTS(to, D)                                                \
  FARCALL_PLAIN(to, D, Ty::kU8, u8), FARCALL_PLAIN(to, D, Ty::kS8, s8),         \
      FARCALL_PLAIN(to, D, Ty::kU16, u16), FARCALL_PLAIN(to, D, Ty::kS16, s16), \
      FARCALL_PLAIN(to, D, Ty::kU32, u32), FARCALL_PLAIN(to, D, Ty::kS32, s32), \
      FARCALL_PLAIN(to, D, Ty::kU64, u64), FARCALL_PLAIN(to, D, Ty::kS64, s64)
#define FARCALL_FLOAT_TO(to, D)                                                              \
  {handler_key(Op::kCvt, to, from(Ty::kF32)), float_to_int<D, f32>, float_to_int<D, f32>}, { \
    handler_key(Op::kCvt, to, from(Ty::kF64)), float_to_int<D, f64>, float_to_int<D, f64>    \
  }
#define FARCALL_ROUNDED(to, D, ty, A) \
  { handler_key(Op::kCvt, to, from(ty) + 16), to_float_any<D, A>, to_float_any<D, A> }
#define FARCALL_INTS_ROUNDED(to, D)                                                 \
  FARCALL_ROUNDED(to, D, Ty::kU8, u8), FARCALL_ROUNDED(to, D, Ty::kS8, s8),         \
      FARCALL_ROUNDED(to, D, Ty::kU16, u16), FARCALL_ROUNDED(to, D, Ty::kS16, s16), \
      FARCALL_ROUNDED(to, D, Ty::kU32, u32), FARCALL_ROUNDED(to, D, Ty::kS32, s32), \
      FARCALL_ROUNDED(to, D, Ty::kU64, u64), FARCALL_ROUNDED(to, D, Ty::kS64, s64)

const HandlerEntry kEntries[] = {
    FARCALL_FROM_INTS(Ty::kU8, u8),
    FARCALL_FROM_INTS(Ty::kS8, s8),
    FARCALL_FROM_INTS(Ty::kU16, u16),
    FARCALL_FROM_INTS(Ty::kS16, s16),
    FARCALL_FROM_INTS(Ty::kU32, u32),
    FARCALL_FROM_INTS(Ty::kS32, s32),
    FARCALL_FROM_INTS(Ty::kU64, u64),
    FARCALL_FROM_INTS(Ty::kS64, s64),
    FARCALL_FROM_INTS(Ty::kF32, f32),
    FARCALL_FROM_INTS(Ty::kF64, f64),
    FARCALL_FLOAT_TO(Ty::kU8, u8),
    FARCALL_FLOAT_TO(Ty::kS8, s8),
    FARCALL_FLOAT_TO(Ty::kU16, u16),
    FARCALL_FLOAT_TO(Ty::kS16, s16),
    FARCALL_FLOAT_TO(Ty::kU32, u32),
    FARCALL_FLOAT_TO(Ty::kS32, s32),
    FARCALL_FLOAT_TO(Ty::kU64, u64),
    FARCALL_FLOAT_TO(Ty::kS64, s64),
    FARCALL_INTS_ROUNDED(Ty::kF32, f32),
    FARCALL_INTS_ROUNDED(Ty::kF64, f64),
    FARCALL_PLAIN(Ty::kF64, f64, Ty::kF32, f32),
    FARCALL_PLAIN(Ty::kF32, f32, Ty::kF64, f64),
    FARCALL_ROUNDED(Ty::kF64, f64, Ty::kF32, f32),
    FARCALL_ROUNDED(Ty::kF32, f32, Ty::kF64, f64),
    {handler_key(Op::kCvt, Ty::kF32, from(Ty::kF32)), same_float<f32>, same_float<f32>},
    {handler_key(Op::kCvt, Ty::kF64, from(Ty::kF64)), same_float<f64>, same_float<f64>},
};

}  // namespace

namespace FARCALL_ISA {
HandlerList convert_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
