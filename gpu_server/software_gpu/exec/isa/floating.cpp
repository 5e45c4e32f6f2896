// f32 and f64 handlers: IEEE 754 arithmetic, with flush to zero, saturation and directed rounding.
//
// Three variants: 0 plain round-to-nearest, 1 the same with flush to zero, 2 anything else, which
// reads the instruction's flags. No contraction, no reassociation: see the compiler options.
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/rounding.h"

namespace farcall::softgpu {
namespace {

struct Add {
  template <class T>
  static T f(T x, T y) {
    return x + y;
  }
};
struct Sub {
  template <class T>
  static T f(T x, T y) {
    return x - y;
  }
};
struct Mul {
  template <class T>
  static T f(T x, T y) {
    return x * y;
  }
};
struct Div {
  template <class T>
  static T f(T x, T y) {
    return x / y;
  }
};
struct Fma {
  static f32 f(f32 x, f32 y, f32 z) { return __builtin_fmaf(x, y, z); }
  static f64 f(f64 x, f64 y, f64 z) { return __builtin_fma(x, y, z); }
};
struct Neg {
  static f32 f(f32 x) { return from_bits(bits_of(x) ^ 0x80000000u); }
  static f64 f(f64 x) { return from_bits(bits_of(x) ^ (u64{1} << 63)); }
};
struct Abs {
  static f32 f(f32 x) { return from_bits(bits_of(x) & 0x7fffffffu); }
  static f64 f(f64 x) { return from_bits(bits_of(x) & ~(u64{1} << 63)); }
};
struct Rcp {
  template <class T>
  static T f(T x) {
    return T{1} / x;
  }
};
struct Sqrt {
  static f32 f(f32 x) { return __builtin_sqrtf(x); }
  static f64 f(f64 x) { return __builtin_sqrt(x); }
};
struct Rsqrt {
  static f32 f(f32 x) { return static_cast<f32>(1.0 / __builtin_sqrt(static_cast<f64>(x))); }
  static f64 f(f64 x) { return 1.0 / __builtin_sqrt(x); }
};
// The sign of x on the value of y, as PTX orders them.
struct Copysign {
  static f32 f(f32 x, f32 y) {
    return from_bits((bits_of(x) & 0x80000000u) | (bits_of(y) & 0x7fffffffu));
  }
  static f64 f(f64 x, f64 y) {
    constexpr u64 kSign = u64{1} << 63;
    return from_bits((bits_of(x) & kSign) | (bits_of(y) & ~kSign));
  }
};
// A NaN operand loses to a number, two NaN give the canonical one, and -0 < +0.
struct Min {
  template <class T>
  static T f(T x, T y) {
    const T smaller = x < y || y != y ? x : y;
    const T chosen = x == y ? from_bits(bits_of(x) | bits_of(y)) : smaller;
    return chosen != chosen ? canonical_nan(x) : chosen;
  }
};
struct Max {
  template <class T>
  static T f(T x, T y) {
    const T larger = x > y || y != y ? x : y;
    const T chosen = x == y ? from_bits(bits_of(x) & bits_of(y)) : larger;
    return chosen != chosen ? canonical_nan(x) : chosen;
  }
};

// Flushes what goes in and what comes out.
template <class F>
struct Flushed {
  static f32 f(f32 x) { return flush(F::f(flush(x))); }
  static f32 f(f32 x, f32 y) { return flush(F::f(flush(x), flush(y))); }
  static f32 f(f32 x, f32 y, f32 z) { return flush(F::f(flush(x), flush(y), flush(z))); }
};

// The loop under a rounding mode must not be moved across the mode changes: so it is a call.
template <class F, int kOperands, class T>
__attribute__((noinline)) void compute(T* d, const T* a, const T* b, const T* c) {
  FARCALL_LANES {
    if constexpr (kOperands == 1) d[l] = F::f(a[l]);
    if constexpr (kOperands == 2) d[l] = F::f(a[l], b[l]);
    if constexpr (kOperands == 3) d[l] = F::f(a[l], b[l], c[l]);
  }
}

template <class T>
void fetch(T* to, const Row<T>* from, bool ftz) {
  FARCALL_LANES to[l] = from[l];
  if constexpr (sizeof(T) == 4) {
    if (ftz) FARCALL_LANES to[l] = flush(to[l]);
  }
}

// min and max with .xorsign.abs or .NaN: x[0] of the operands x[1] and x[2].
template <class F, class T>
void amend_min_max(T (*x)[kLanes], unsigned flags) {
  for (int l = 0; l < kLanes; ++l) {
    const T p = x[1][l], q = x[2][l];
    if ((flags & kXorSign) != 0) {
      const T m = F::f(Abs::f(p), Abs::f(q));
      x[0][l] = (bits_of(p) ^ bits_of(q)) >> (8 * sizeof(T) - 1) != 0 ? Neg::f(m) : m;
    }
    if ((flags & kNanMin) != 0 && (p != p || q != q)) x[0][l] = canonical_nan(p);
  }
}

template <class F, int kOperands, class T>
const Ins* any(Warp& w, const Ins* i, std::byte* r) {
  alignas(64) T x[4][kLanes];
  const bool ftz = (i->flags & kFtz) != 0;
  fetch<T>(x[1], row<T>(r, i->a), ftz);
  if constexpr (kOperands > 1) fetch<T>(x[2], row<T>(r, i->b), ftz);
  if constexpr (kOperands > 2) fetch<T>(x[3], row<T>(r, i->c), ftz);
  {
    Rounding mode(i->flags);
    compute<F, kOperands, T>(x[0], x[1], x[2], x[3]);
  }
  finish(x[0], i->flags);
  if constexpr (kOperands == 2) {
    if ((i->flags & (kNanMin | kXorSign)) != 0) amend_min_max<F, T>(x, i->flags);
  }
  Row<T>* d = row<T>(r, i->d);
  FARCALL_LANES put<false, T>(d, l, x[0][l], w.lanes);
  return i + 1;
}

#define FARCALL_ANY(op, ty, F, n, T) \
  { handler_key(op, ty, 2), any<F, n, T>, any<F, n, T> }
#define FARCALL_FLOAT1(op, F)                                                         \
  FARCALL_UNARY(op, Ty::kF32, F, f32, f32), FARCALL_UNARY(op, Ty::kF64, F, f64, f64), \
      {handler_key(op, Ty::kF32, 1), unary<Flushed<F>, f32, f32, true>,               \
       unary<Flushed<F>, f32, f32, false>},                                           \
      FARCALL_ANY(op, Ty::kF32, F, 1, f32), FARCALL_ANY(op, Ty::kF64, F, 1, f64)
#define FARCALL_FLOAT2(op, F)                                                                     \
  FARCALL_BINARY(op, Ty::kF32, F, f32, f32, f32), FARCALL_BINARY(op, Ty::kF64, F, f64, f64, f64), \
      {handler_key(op, Ty::kF32, 1), binary<Flushed<F>, f32, f32, f32, true>,                     \
       binary<Flushed<F>, f32, f32, f32, false>},                                                 \
      FARCALL_ANY(op, Ty::kF32, F, 2, f32), FARCALL_ANY(op, Ty::kF64, F, 2, f64)

const HandlerEntry kEntries[] = {
    FARCALL_FLOAT2(Op::kAdd, Add),
    FARCALL_FLOAT2(Op::kSub, Sub),
    FARCALL_FLOAT2(Op::kMul, Mul),
    FARCALL_FLOAT2(Op::kDiv, Div),
    FARCALL_FLOAT2(Op::kMin, Min),
    FARCALL_FLOAT2(Op::kMax, Max),
    FARCALL_FLOAT1(Op::kNeg, Neg),
    FARCALL_FLOAT1(Op::kAbs, Abs),
    FARCALL_FLOAT1(Op::kRcp, Rcp),
    FARCALL_FLOAT1(Op::kSqrt, Sqrt),
    FARCALL_FLOAT1(Op::kRsqrt, Rsqrt),
    FARCALL_BINARY(Op::kCopysign, Ty::kF32, Copysign, f32, f32, f32),
    FARCALL_BINARY(Op::kCopysign, Ty::kF64, Copysign, f64, f64, f64),
    FARCALL_TERNARY(Op::kFma, Ty::kF32, Fma, f32, f32, f32, f32),
    FARCALL_TERNARY(Op::kFma, Ty::kF64, Fma, f64, f64, f64, f64),
    {handler_key(Op::kFma, Ty::kF32, 1), ternary<Flushed<Fma>, f32, f32, f32, f32, true>,
     ternary<Flushed<Fma>, f32, f32, f32, f32, false>},
    FARCALL_ANY(Op::kFma, Ty::kF32, Fma, 3, f32),
    FARCALL_ANY(Op::kFma, Ty::kF64, Fma, 3, f64),
};

}  // namespace

namespace FARCALL_ISA {
HandlerList float_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
