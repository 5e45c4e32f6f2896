// Lane-by-lane handlers of the approximate functions, which are the C library's, of number classes,
// and of moves between registers of different sizes.
#include <cmath>

#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/rounding.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

struct Ex2 {
  static f32 f(f32 x) { return std::exp2(x); }
};
struct Lg2 {
  static f32 f(f32 x) { return std::log2(x); }
};
struct Sin {
  static f32 f(f32 x) { return std::sin(x); }
};
struct Cos {
  static f32 f(f32 x) { return std::cos(x); }
};
struct Tanh {
  static f32 f(f32 x) { return std::tanh(x); }
};

template <class F>
const Ins* function(Warp& w, const Ins* i, std::byte* r) {
  const bool ftz = (i->flags & kFtz) != 0;
  const Row<f32>* a = row<f32>(r, i->a);
  Row<f32>* d = row<f32>(r, i->d);
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const f32 x = ftz ? flush(a[l]) : a[l];
    const f32 y = F::f(x);
    d[l] = ftz ? flush(y) : y;
  }
  return i + 1;
}

// detail: finite, infinite, number, notanumber, normal, subnormal.
template <class T>
const Ins* testp(Warp& w, const Ins* i, std::byte* r) {
  static constexpr int kClasses[] = {0, FP_INFINITE, 0, FP_NAN, FP_NORMAL, FP_SUBNORMAL};
  u32 found = 0;
  for (int l = 0; l < kLanes; ++l) {
    const int is = std::fpclassify(row<T>(r, i->a)[l]);
    const bool yes = i->detail == 0   ? is != FP_NAN && is != FP_INFINITE
                     : i->detail == 2 ? is != FP_NAN
                                      : is == kClasses[i->detail];
    found |= yes ? 1u << l : 0u;
  }
  u32& p = pred(r, i->d);
  p = (p & ~w.mask) | (found & w.mask);
  return i + 1;
}

u64 get_bits(std::byte* r, u32 at, int l, u32 bytes) {
  if (bytes == 8) return row<u64>(r, at)[l];
  const u32 x = row<u32>(r, at)[l];
  return bytes == 4 ? x : x & ((1u << (8 * bytes)) - 1);
}

u32 part_row(const Ins* i, unsigned n) {
  return n == 0 ? i->d : n == 1 ? i->e : n == 2 ? i->b : i->c;
}

// See FunctionDecoder::move_packed; f is the whole.
template <class T>
const Ins* pack(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    u64 whole = 0;
    for (unsigned n = 0; n < i->detail2; ++n) {
      whole |= get_bits(r, part_row(i, n), l, i->detail) << (8 * i->detail * n);
    }
    put<false, T>(row<T>(r, i->f), l, static_cast<T>(whole), w.lanes);
  }
  return i + 1;
}

template <class T>
const Ins* unpack(Warp& w, const Ins* i, std::byte* r) {
  for (int l = 0; l < kLanes; ++l) {
    const u64 whole = row<T>(r, i->f)[l];
    for (unsigned n = 0; n < i->detail2; ++n) {
      const u64 part = whole >> (8 * i->detail * n) & (~u64{0} >> (64 - 8 * i->detail));
      put<false, u32>(row<u32>(r, part_row(i, n)), l, static_cast<u32>(part), w.lanes);
    }
  }
  return i + 1;
}

#define FARCALL_BOTH(op, ty, ...) \
  { handler_key(op, ty), __VA_ARGS__, __VA_ARGS__ }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kEx2, Ty::kF32, function<Ex2>),
    FARCALL_BOTH(Op::kLg2, Ty::kF32, function<Lg2>),
    FARCALL_BOTH(Op::kSin, Ty::kF32, function<Sin>),
    FARCALL_BOTH(Op::kCos, Ty::kF32, function<Cos>),
    FARCALL_BOTH(Op::kTanh, Ty::kF32, function<Tanh>),
    FARCALL_BOTH(Op::kTestp, Ty::kF32, testp<f32>),
    FARCALL_BOTH(Op::kTestp, Ty::kF64, testp<f64>),
    FARCALL_BOTH(Op::kPack, Ty::kU32, pack<u32>),
    FARCALL_BOTH(Op::kPack, Ty::kU64, pack<u64>),
    FARCALL_BOTH(Op::kUnpack, Ty::kU32, unpack<u32>),
    FARCALL_BOTH(Op::kUnpack, Ty::kU64, unpack<u64>),
};

}  // namespace

HandlerList function_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
