// atom and red on every space, and cp.async. On global memory these are the host's own atomics, so
// blocks on several threads, other launches and the host itself see one order.
#include <cstring>

#include "gpu_server/software_gpu/exec/half.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

enum AtomicOp : u8 { kAdd, kMin, kMax, kInc, kDec, kExch, kCas, kAnd, kOr, kXor };

// The first element of a vector (detail2: its size, log2) is where the whole vector must be
// aligned.
bool check_vector(Warp& w, const Ins* i, const u64* at) {
  if (i->detail2 <= i->size_log2) return true;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    if ((at[l] & ((u64{1} << i->detail2) - 1)) == 0) continue;
    raise_fault(w, i, FaultKind::kMisaligned, l, at[l], "misaligned access to");
    return false;
  }
  return true;
}

// The host addresses of the running lanes; false after a fault.
bool addresses(Warp& w, const Ins* i, std::byte* r, u64* at) {
  const u64 bytes = u64{1} << i->size_log2;
  if (i->space == Space::kGlobal || i->space == Space::kGeneric) {
    for (int l = 0; l < kLanes; ++l) at[l] = row<u64>(r, i->a)[l] + static_cast<u64>(i->imm);
    return check_vector(w, i, at) && check_lanes(w, i, at, bytes);
  }
  u32 offset[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const u64 a = (i->flags & kAddress32) != 0 ? row<u32>(r, i->a)[l] : row<u64>(r, i->a)[l];
    offset[l] = static_cast<u32>(a) + static_cast<u32>(i->imm);
  }
  const bool shared = i->space == Space::kShared;
  const u32 window = shared ? w.shared_bytes : w.local_stride;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    if (window < bytes || offset[l] > window - bytes || (offset[l] & (bytes - 1)) != 0) {
      raise_window_fault(w, i, offset, window);
      return false;
    }
    const u64 base = reinterpret_cast<u64>(
        shared ? w.shared : w.local + std::size_t{window} * static_cast<u32>(l));
    at[l] = base + offset[l];
  }
  return true;
}

template <class T>
struct Bits {
  using Type = u32;
};
template <>
struct Bits<u64> {
  using Type = u64;
};
template <>
struct Bits<s64> {
  using Type = u64;
};
template <>
struct Bits<f64> {
  using Type = u64;
};
template <>
struct Bits<u16> {
  using Type = u16;
};

template <class T>
T combine(T old, T b, u8 op) {
  if constexpr (static_cast<T>(0.5f) != T{0}) {
    return old + b;  // f32 and f64 only add
  } else {
    switch (op) {
      case kAdd: return static_cast<T>(static_cast<u64>(old) + static_cast<u64>(b));
      case kMin: return b < old ? b : old;
      case kMax: return b > old ? b : old;
      case kInc: return old >= b ? T{0} : static_cast<T>(old + 1);
      case kDec: return old == T{0} || old > b ? b : static_cast<T>(old - 1);
      case kAnd: return old & b;
      case kOr: return old | b;
      default: return old ^ b;
    }
  }
}

template <class T>
T apply(typename Bits<T>::Type* at, T b, T c, u8 op) {
  using B = typename Bits<T>::Type;
  const auto bits = [](T x) { return __builtin_bit_cast(B, x); };
  const auto value = [](B x) { return __builtin_bit_cast(T, x); };
  if (op == kExch) return value(__atomic_exchange_n(at, bits(b), __ATOMIC_SEQ_CST));
  B old = op == kCas ? bits(b) : __atomic_load_n(at, __ATOMIC_RELAXED);
  if (op == kCas) {
    __atomic_compare_exchange_n(at, &old, bits(c), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return value(old);
  }
  while (!__atomic_compare_exchange_n(at, &old, bits(combine<T>(value(old), b, op)), true,
                                      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
  }
  return value(old);
}

template <class T>
T apply_int(T* at, T b, T c, u8 op) {
  using B = typename Bits<T>::Type;
  B* const bits = reinterpret_cast<B*>(at);
  switch (op) {
    case kAdd: return static_cast<T>(__atomic_fetch_add(bits, static_cast<B>(b), __ATOMIC_SEQ_CST));
    case kAnd: return static_cast<T>(__atomic_fetch_and(bits, static_cast<B>(b), __ATOMIC_SEQ_CST));
    case kOr: return static_cast<T>(__atomic_fetch_or(bits, static_cast<B>(b), __ATOMIC_SEQ_CST));
    case kXor: return static_cast<T>(__atomic_fetch_xor(bits, static_cast<B>(b), __ATOMIC_SEQ_CST));
    default: return apply<T>(bits, b, c, op);
  }
}

template <class T>
const Ins* atom(Warp& w, const Ins* i, std::byte* r) {
  u64 at[kLanes];
  if (!addresses(w, i, r, at)) return stop();
  using Type = typename RawAlias<T>::Type;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const T b = Cell<T>::get(row<T>(r, i->b)[l]);
    const T c = Cell<T>::get(row<T>(r, i->c)[l]);
    T old;
    if constexpr (static_cast<T>(0.5f) != T{0} || sizeof(T) == 2) {
      old = apply<T>(reinterpret_cast<typename Bits<T>::Type*>(at[l]), b, c, i->detail);
    } else {
      old = apply_int<T>(reinterpret_cast<Type*>(at[l]), b, c, i->detail);
    }
    row<T>(r, i->d)[l] = Cell<T>::put(old);
  }
  if ((i->flags & kSpins) != 0) note_spin(w);
  return i + 1;
}

// Halves are added in f64, where sums of two are exact, and rounded once. The smaller or larger one
// is the number where the other is none; -0 is smaller than 0.
template <class Fmt>
u32 combine_halves(u32 old, u32 more, u8 op) {
  const f32 x = to_float<Fmt>(old), y = to_float<Fmt>(more);
  if (op == kAdd) return encode<Fmt>(static_cast<f64>(x) + static_cast<f64>(y), kRoundNearest);
  if (x != x || y != y) return x == x ? old : y == y ? more : 0x7fffu;
  const bool old_is_less = x < y || (x == y && (old & 0x8000u) != 0);
  return old_is_less == (op == kMin) ? old : more;
}
template <class Fmt, class Word>
Word combine_words(Word old, Word more, u8 op) {
  u32 all = 0;
  for (unsigned shift = 0; shift < 8 * sizeof(Word); shift += 16) {
    all |= combine_halves<Fmt>(u32{old} >> shift & 0xffffu, u32{more} >> shift & 0xffffu, op)
           << shift;
  }
  return static_cast<Word>(all);
}

template <class Fmt, class Word>
const Ins* atom_half(Warp& w, const Ins* i, std::byte* r) {
  u64 at[kLanes];
  if (!addresses(w, i, r, at)) return stop();
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    auto* const cell = reinterpret_cast<typename RawAlias<Word>::Type*>(at[l]);
    const Word more = static_cast<Word>(row<u32>(r, i->b)[l]);
    Word old = __atomic_load_n(cell, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(cell, &old, combine_words<Fmt>(old, more, i->detail), true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    row<u32>(r, i->d)[l] = old;
  }
  if ((i->flags & kSpins) != 0) note_spin(w);
  return i + 1;
}

}  // namespace

// cp.async, done at once: a, imm: shared address; b, table: global address; c: bytes to read, the
// rest is zeros.
const Ins* copy_each_async(Warp& w, const Ins* i, std::byte* r) {
  u64 to[kLanes], from[kLanes];
  const u32 bytes = 1u << i->size_log2;
  if (!addresses(w, i, r, to)) return stop();
  const s64 from_imm = static_cast<s32>(i->table);
  for (int l = 0; l < kLanes; ++l) from[l] = row<u64>(r, i->b)[l] + static_cast<u64>(from_imm);
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u32 wanted = row<u32>(r, i->c)[l];
    const u32 used = wanted < bytes ? wanted : bytes;
    const RangeCache& known = w.ranges[i->slot];
    const bool inside =
        from[l] >= known.base && used <= known.bytes && from[l] - known.base <= known.bytes - used;
    if (used != 0 && !inside && !find_range(w, i, from[l], used)) {
      return raise_fault(w, i, FaultKind::kIllegalAddress, l, from[l],
                         "access outside every allocation, to");
    }
    std::byte* const target = reinterpret_cast<std::byte*>(to[l]);
    if (used == 16) [[likely]] {
      std::memcpy(target, reinterpret_cast<const void*>(from[l]), 16);
    } else {
      std::memcpy(target, reinterpret_cast<const void*>(from[l]), used);
      std::memset(target + used, 0, bytes - used);
    }
  }
  return i + 1;
}

namespace {

#define FARCALL_BOTH(op, ty, f) \
  { handler_key(op, ty), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kAtom, Ty::kU16, atom<u16>),
    FARCALL_BOTH(Op::kAtom, Ty::kU32, atom<u32>),
    FARCALL_BOTH(Op::kAtom, Ty::kS32, atom<s32>),
    FARCALL_BOTH(Op::kAtom, Ty::kU64, atom<u64>),
    FARCALL_BOTH(Op::kAtom, Ty::kS64, atom<s64>),
    FARCALL_BOTH(Op::kAtom, Ty::kF32, atom<f32>),
    FARCALL_BOTH(Op::kAtom, Ty::kF64, atom<f64>),
    FARCALL_BOTH(Op::kAtom, Ty::kF16, (atom_half<F16, u16>)),
    FARCALL_BOTH(Op::kAtom, Ty::kF16x2, (atom_half<F16, u32>)),
    FARCALL_BOTH(Op::kAtom, Ty::kBf16, (atom_half<Bf16, u16>)),
    FARCALL_BOTH(Op::kAtom, Ty::kBf16x2, (atom_half<Bf16, u32>)),
};

}  // namespace

HandlerList atomic_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
