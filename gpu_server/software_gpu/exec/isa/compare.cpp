// setp: 32 comparisons become one mask. The variant of a handler is its Cmp, plus 16 where f32
// operands are flushed to zero first.
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/rounding.h"

namespace farcall::softgpu {
namespace {

template <Cmp kCmp, class T>
inline bool compare(T x, T y) {
  switch (kCmp) {
    case Cmp::kEq: return x == y;
    case Cmp::kNe: return x < y || x > y;  // false for NaN
    case Cmp::kLt: return x < y;
    case Cmp::kLe: return x <= y;
    case Cmp::kGt: return x > y;
    case Cmp::kGe: return x >= y;
    case Cmp::kEqu: return !(x < y || x > y);
    case Cmp::kNeu: return !(x == y);
    case Cmp::kLtu: return !(x >= y);
    case Cmp::kLeu: return !(x > y);
    case Cmp::kGtu: return !(x <= y);
    case Cmp::kGeu: return !(x < y);
    case Cmp::kNum: return x == x && y == y;
    case Cmp::kNan: return x != x || y != y;
  }
  return false;
}

template <Cmp kCmp, class T, bool kFlush>
const Ins* setp(Warp& w, const Ins* i, std::byte* r) {
  using S = Stored<T>;
  using Bits = typename Sized<sizeof(S)>::Unsigned;
  const Row<T>* a = row<T>(r, i->a);
  const Row<T>* b = row<T>(r, i->b);
  Bits found = 0;
  FARCALL_LANES {
    T x = Cell<T>::get(a[l]), y = Cell<T>::get(b[l]);
    if constexpr (kFlush) {
      x = flush(x);
      y = flush(y);
    }
    found |= compare<kCmp, T>(x, y) ? Bits{1} << l : Bits{0};
  }
  u32& d = pred(r, i->d);
  d = (d & ~w.mask) | (static_cast<u32>(found) & w.mask);
  return i + 1;
}

#define FARCALL_SETP(T, ty, cmp)                                                 \
  {                                                                              \
    handler_key(Op::kSetp, ty, static_cast<unsigned>(cmp)), setp<cmp, T, false>, \
        setp<cmp, T, false>                                                      \
  }
#define FARCALL_SETP_FTZ(cmp)                                                                \
  {                                                                                          \
    handler_key(Op::kSetp, Ty::kF32, static_cast<unsigned>(cmp) + 16), setp<cmp, f32, true>, \
        setp<cmp, f32, true>                                                                 \
  }
#define FARCALL_EQUALITY(T, ty) FARCALL_SETP(T, ty, Cmp::kEq), FARCALL_SETP(T, ty, Cmp::kNe)
#define FARCALL_ORDER(T, ty)                                                                   \
  FARCALL_SETP(T, ty, Cmp::kLt), FARCALL_SETP(T, ty, Cmp::kLe), FARCALL_SETP(T, ty, Cmp::kGt), \
      FARCALL_SETP(T, ty, Cmp::kGe)
#define FARCALL_UNORDERED(T, ty)                                                                  \
  FARCALL_SETP(T, ty, Cmp::kEqu), FARCALL_SETP(T, ty, Cmp::kNeu), FARCALL_SETP(T, ty, Cmp::kLtu), \
      FARCALL_SETP(T, ty, Cmp::kLeu), FARCALL_SETP(T, ty, Cmp::kGtu),                             \
      FARCALL_SETP(T, ty, Cmp::kGeu), FARCALL_SETP(T, ty, Cmp::kNum),                             \
      FARCALL_SETP(T, ty, Cmp::kNan)

const HandlerEntry kEntries[] = {
    FARCALL_EQUALITY(u16, Ty::kU16),  FARCALL_ORDER(u16, Ty::kU16),
    FARCALL_EQUALITY(u32, Ty::kU32),  FARCALL_ORDER(u32, Ty::kU32),
    FARCALL_EQUALITY(u64, Ty::kU64),  FARCALL_ORDER(u64, Ty::kU64),
    FARCALL_ORDER(s16, Ty::kS16),     FARCALL_ORDER(s32, Ty::kS32),
    FARCALL_ORDER(s64, Ty::kS64),     FARCALL_EQUALITY(f32, Ty::kF32),
    FARCALL_ORDER(f32, Ty::kF32),     FARCALL_UNORDERED(f32, Ty::kF32),
    FARCALL_EQUALITY(f64, Ty::kF64),  FARCALL_ORDER(f64, Ty::kF64),
    FARCALL_UNORDERED(f64, Ty::kF64), FARCALL_SETP_FTZ(Cmp::kEq),
    FARCALL_SETP_FTZ(Cmp::kNe),       FARCALL_SETP_FTZ(Cmp::kLt),
    FARCALL_SETP_FTZ(Cmp::kLe),       FARCALL_SETP_FTZ(Cmp::kGt),
    FARCALL_SETP_FTZ(Cmp::kGe),       FARCALL_SETP_FTZ(Cmp::kEqu),
    FARCALL_SETP_FTZ(Cmp::kNeu),      FARCALL_SETP_FTZ(Cmp::kLtu),
    FARCALL_SETP_FTZ(Cmp::kLeu),      FARCALL_SETP_FTZ(Cmp::kGtu),
    FARCALL_SETP_FTZ(Cmp::kGeu),      FARCALL_SETP_FTZ(Cmp::kNum),
    FARCALL_SETP_FTZ(Cmp::kNan),
};

}  // namespace

namespace FARCALL_ISA {
HandlerList compare_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
