// Loads and stores: 32 addresses at a time, with fast ways for neighbouring and equal addresses.
//
// Every access is checked: against the range this instruction hit last, and beyond that against the
// device's memory. Vector forms move 2 or 4 elements per lane.
#include "gpu_server/software_gpu/exec/fence.h"
#include "gpu_server/software_gpu/exec/isa/eights.h"
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/isa/neighbours.h"

namespace farcall::softgpu {
namespace {

enum class Shape : u8 { kFault, kContiguous, kUniform, kScattered };

// Where an instruction's lanes go. base is lane 0's host address when contiguous (the lane may not
// run), the common one when uniform; `at` holds each lane's address when scattered.
struct Place {
  alignas(64) u64 at[kLanes];
  u64 base;
};

inline bool covered(const RangeCache& range, u64 address, u64 bytes) {
  return address >= range.base && bytes <= range.bytes &&
         address - range.base <= range.bytes - bytes;
}

template <bool kFull>
inline int first_lane(const Warp& w) {
  return kFull ? 0 : __builtin_ctz(w.mask);
}
template <bool kFull>
inline int last_lane(const Warp& w) {
  return kFull ? kLanes - 1 : 31 - __builtin_clz(w.mask);
}
template <bool kFull>
inline u64 wide_mask(const Warp& w, int l) {
  return kFull ? ~u64{0} : static_cast<u64>(static_cast<s64>(static_cast<s32>(w.lanes[l])));
}

template <bool kFull>
__attribute__((noinline)) Shape scattered(Warp& w, const Ins* i, Place& p) {
  const u64 bytes = u64{1} << i->size_log2;
  u64 low = ~u64{0}, high = 0, bits = 0;
  FARCALL_LANES {
    const u64 m = wide_mask<kFull>(w, l);
    const u64 x = p.at[l] | ~m, y = p.at[l] & m;
    low = x < low ? x : low;
    high = y > high ? y : high;
    bits |= y;
  }
  const bool aligned = (bits & (bytes - 1)) == 0;
  if (aligned && low <= high && covered(w.ranges[i->slot], low, high - low + bytes)) {
    return Shape::kScattered;
  }
  return check_lanes(w, i, p.at, bytes) ? Shape::kScattered : Shape::kFault;
}

// Global and generic addresses: 64-bit, anywhere.
template <bool kFull>
__attribute__((noinline)) Shape resolve_wide(Warp& w, const Ins* i, std::byte* r, Place& p) {
  const Row<u64>* a = row<u64>(r, i->a);
  const int first = first_lane<kFull>(w);
  const u64 start = a[first];
  const u64 size = u64{1} << i->size_log2;
  u64 not_contiguous = 0, not_uniform = 0;
  FARCALL_LANES {
    const u64 delta = (a[l] - start) & wide_mask<kFull>(w, l);
    const u64 step = (static_cast<u64>(l - first) << i->size_log2) & wide_mask<kFull>(w, l);
    not_contiguous |= delta ^ step;
    not_uniform |= delta;
  }
  const u64 address = start + static_cast<u64>(i->imm);
  if (not_contiguous == 0 && (address & (size - 1)) == 0) {
    const u64 span = static_cast<u64>(last_lane<kFull>(w) - first + 1) << i->size_log2;
    if (covered(w.ranges[i->slot], address, span) || find_range(w, i, address, span)) {
      p.base = address - (static_cast<u64>(first) << i->size_log2);
      return Shape::kContiguous;
    }
  } else if (not_uniform == 0 && (address & (size - 1)) == 0) {
    if (covered(w.ranges[i->slot], address, size) || find_range(w, i, address, size)) {
      p.base = address;
      return Shape::kUniform;
    }
  }
  FARCALL_LANES p.at[l] = a[l] + static_cast<u64>(i->imm);
  return scattered<kFull>(w, i, p);
}

// Shared and parameter addresses: offsets into a window of the host's memory.
template <bool kFull>
__attribute__((noinline)) Shape resolve_window(Warp& w, const Ins* i, std::byte* r, Place& p) {
  alignas(64) u32 offset[kLanes];
  const u32 imm = static_cast<u32>(i->imm);
  if ((i->flags & kAddress32) != 0) {
    const Row<u32>* a = row<u32>(r, i->a);
    FARCALL_LANES offset[l] = a[l] + imm;
  } else {
    const Row<u64>* a = row<u64>(r, i->a);
    FARCALL_LANES offset[l] = static_cast<u32>(a[l]) + imm;
  }
  const bool shared = i->space == Space::kShared;
  const u64 base = reinterpret_cast<u64>(shared ? w.shared : w.params);
  const u32 window = shared ? w.shared_bytes : w.param_bytes;
  const u32 size = 1u << i->size_log2;
  const int first = first_lane<kFull>(w);
  const u32 start = offset[first];
  u32 not_contiguous = 0, not_uniform = 0, high = 0, bits = 0;
  FARCALL_LANES {
    const u32 m = kFull ? ~0u : w.lanes[l];
    const u32 delta = (offset[l] - start) & m;
    not_contiguous |= delta ^ ((static_cast<u32>(l - first) << i->size_log2) & m);
    not_uniform |= delta;
    const u32 mine = offset[l] & m;
    high = mine > high ? mine : high;
    bits |= mine;
  }
  if (window < size || high > window - size || (bits & (size - 1)) != 0) {
    raise_window_fault(w, i, offset, window);
    return Shape::kFault;
  }
  if (not_contiguous == 0) {
    p.base = base + start - (static_cast<u64>(first) << i->size_log2);
    return Shape::kContiguous;
  }
  if (not_uniform == 0) {
    p.base = base + start;
    return Shape::kUniform;
  }
  FARCALL_LANES p.at[l] = base + offset[l];
  return Shape::kScattered;
}

// Local addresses: offsets into each lane's own memory.
template <bool kFull>
__attribute__((noinline)) Shape resolve_local(Warp& w, const Ins* i, std::byte* r, Place& p) {
  alignas(64) u32 offset[kLanes];
  const u32 imm = static_cast<u32>(i->imm);
  if ((i->flags & kAddress32) != 0) {
    const Row<u32>* a = row<u32>(r, i->a);
    FARCALL_LANES offset[l] = a[l] + imm;
  } else {
    const Row<u64>* a = row<u64>(r, i->a);
    FARCALL_LANES offset[l] = static_cast<u32>(a[l]) + imm;
  }
  const u32 size = 1u << i->size_log2;
  u32 high = 0, bits = 0;
  FARCALL_LANES {
    const u32 mine = offset[l] & (kFull ? ~0u : w.lanes[l]);
    high = mine > high ? mine : high;
    bits |= mine;
  }
  if (w.local_stride < size || high > w.local_stride - size || (bits & (size - 1)) != 0) {
    raise_window_fault(w, i, offset, w.local_stride);
    return Shape::kFault;
  }
  const u64 base = reinterpret_cast<u64>(w.local);
  FARCALL_LANES p.at[l] = base + static_cast<u64>(l) * w.local_stride + offset[l];
  return Shape::kScattered;
}

template <bool kFull>
inline Shape resolve(Warp& w, const Ins* i, std::byte* r, Place& p) {
  switch (i->space) {
    case Space::kShared:
    case Space::kParam: return resolve_window<kFull>(w, i, r, p);
    case Space::kLocal: return resolve_local<kFull>(w, i, r, p);
    default: return resolve_wide<kFull>(w, i, r, p);
  }
}

// A full warp's load by eights; false when its lanes lie otherwise.
template <class T, class D, int kCount>
FARCALL_KERNEL_MEMORY inline bool load_eights(const Warp& w, const Ins* i, std::byte* r) {
  using M = typename RawAlias<T>::Type;
  Eights found;
  const Runs runs = find_eights(w, i, r, found);
  if (runs == Runs::kOther) return false;
#if defined(__AVX512F__)
  if constexpr (kCount == 4 && sizeof(T) == 4 && sizeof(D) == 4) {
    if (runs == Runs::kNeighbours) {
      load_all_fours(i, r, found);
      return true;
    }
  }
#endif
  for (int v = 0; v < kCount; ++v) {
    Row<D>* d = row<D>(r, element_row(i, v));
    typename EightOf<D>::Type x[4];
    for (int q = 0; q < 4; ++q) {
      const M* from = reinterpret_cast<const M*>(found.at[q]) + v;
      if (runs == Runs::kEqual) {
        x[q] = typename EightOf<D>::Type{} + extend<D, T>(*from);
      } else {
        load_neighbours<T, D, kCount>(found.at[q], v, x[q]);
      }
    }
    put_eights(d, x);
  }
  return true;
}

template <class T, class A, int kCount>
FARCALL_KERNEL_MEMORY inline bool store_eights(const Warp& w, const Ins* i, std::byte* r) {
  using M = typename RawAlias<T>::Type;
  Eights found;
  if (find_eights(w, i, r, found) != Runs::kNeighbours) return false;
  if (i->flags & kRelease) [[unlikely]]
    release_fence();
#if defined(__AVX512F__)
  if constexpr (kCount == 4 && sizeof(T) == 4 && sizeof(A) == 4) {
    store_all_fours(i, r, found);
    return true;
  }
#endif
  for (int v = 0; v < kCount; ++v) {
    const Row<A>* a = row<A>(r, element_row(i, v));
    for (int q = 0; q < 4; ++q) {
      M* to = reinterpret_cast<M*>(found.at[q]) + v;
      alignas(64) T x[8];
      for (int l = 0; l < 8; ++l) x[l] = static_cast<T>(a[8 * q + l]);
      for (int l = 0; l < 8; ++l) to[l * kCount] = x[l];
    }
  }
  return true;
}

inline const Ins* after_load(Warp& w, const Ins* i) {
  if (i->flags & (kSpins | kAcquire)) [[unlikely]] {
    acquire_fence();
    note_spin(w);
  }
  return i + 1;
}

// 32 single elements, put together in registers: storing them one by one into the row would make
// the next instruction wait for each.
template <class T, class D>
FARCALL_KERNEL_MEMORY inline void gather(Row<D>* d, const u64* at, int v) {
  using M = typename RawAlias<T>::Type;
  if constexpr (sizeof(D) == 4) {
    const auto one = [&](int l) {
      return static_cast<u32>(extend<D, T>(reinterpret_cast<const M*>(at[l])[v]));
    };
    Eight x[4];
    for (int q = 0; q < 4; ++q) {
      const int l = 8 * q;
      x[q] = Eight{one(l),     one(l + 1), one(l + 2), one(l + 3),
                   one(l + 4), one(l + 5), one(l + 6), one(l + 7)};
    }
    put_eights(d, x);
  } else {
    for (int l = 0; l < kLanes; ++l) d[l] = extend<D, T>(reinterpret_cast<const M*>(at[l])[v]);
  }
}

template <class T, class D, int kCount, bool kFull>
FARCALL_KERNEL_MEMORY const Ins* load(Warp& w, const Ins* i, std::byte* r) {
  using M = typename RawAlias<T>::Type;
  if constexpr (kFull) {
    if (load_eights<T, D, kCount>(w, i, r)) return after_load(w, i);
  }
  Place p;
  const Shape shape = resolve<kFull>(w, i, r, p);
  if (shape == Shape::kFault) return stop();
  for (int v = 0; v < kCount; ++v) {
    Row<D>* d = row<D>(r, element_row(i, v));
    if (shape == Shape::kContiguous) {
      const M* from = reinterpret_cast<const M*>(p.base) + v;
      FARCALL_LANES if (kFull || w.lanes[l] != 0) d[l] = extend<D, T>(from[l * kCount]);
    } else if (shape == Shape::kUniform) {
      const D x = extend<D, T>(reinterpret_cast<const M*>(p.base)[v]);
      FARCALL_LANES put<kFull, D>(d, l, x, w.lanes);
    } else if (kFull) {
      gather<T, D>(d, p.at, v);
    } else {
      for (u32 m = w.mask; m != 0; m &= m - 1) {
        const int l = __builtin_ctz(m);
        d[l] = extend<D, T>(reinterpret_cast<const M*>(p.at[l])[v]);
      }
    }
  }
  return after_load(w, i);
}

template <class T, class A, int kCount, bool kFull>
FARCALL_KERNEL_MEMORY const Ins* store(Warp& w, const Ins* i, std::byte* r) {
  using M = typename RawAlias<T>::Type;
  if constexpr (kFull) {
    if (store_eights<T, A, kCount>(w, i, r)) return i + 1;
  }
  Place p;
  const Shape shape = resolve<kFull>(w, i, r, p);
  if (shape == Shape::kFault) return stop();
  if (i->flags & kRelease) [[unlikely]]
    release_fence();
  for (int v = 0; v < kCount; ++v) {
    const Row<A>* a = row<A>(r, element_row(i, v));
    if (shape == Shape::kContiguous) {
      M* to = reinterpret_cast<M*>(p.base) + v;
      FARCALL_LANES if (kFull || w.lanes[l] != 0) to[l * kCount] = static_cast<T>(a[l]);
    } else if (shape == Shape::kUniform) {
      // The last lane wins, as good as any.
      reinterpret_cast<M*>(p.base)[v] = static_cast<T>(a[last_lane<kFull>(w)]);
    } else {
      for (u32 m = w.mask; m != 0; m &= m - 1) {
        const int l = __builtin_ctz(m);
        reinterpret_cast<M*>(p.at[l])[v] = static_cast<T>(a[l]);
      }
    }
  }
  return i + 1;
}

// Parameter of the kernel at a fixed offset: the same for every lane, checked by the decoder.
template <class T, class D, bool kFull>
const Ins* load_param(Warp& w, const Ins* i, std::byte* r) {
  T x;
  __builtin_memcpy(&x, w.params + i->imm, sizeof x);
  const D value = extend<D, T>(x);
  Row<D>* d = row<D>(r, i->d);
  FARCALL_LANES put<kFull, D>(d, l, value, w.lanes);
  return i + 1;
}

#define FARCALL_MOVE(op, f, ty, T, R, count, variant) \
  { handler_key(op, ty, variant), f<T, R, count, true>, f<T, R, count, false> }
#define FARCALL_MOVES(op, f, ty, T, R, wide)                                          \
  FARCALL_MOVE(op, f, ty, T, R, 1, wide), FARCALL_MOVE(op, f, ty, T, R, 2, wide + 1), \
      FARCALL_MOVE(op, f, ty, T, R, 4, wide + 2)
#define FARCALL_PARAM(ty, T, R, wide) \
  { handler_key(Op::kParamLoad, ty, wide), load_param<T, R, true>, load_param<T, R, false> }

const HandlerEntry kEntries[] = {
    FARCALL_MOVES(Op::kLoad, load, Ty::kU8, u8, u32, 0),
    FARCALL_MOVES(Op::kLoad, load, Ty::kS8, s8, u32, 0),
    FARCALL_MOVES(Op::kLoad, load, Ty::kU16, u16, u32, 0),
    FARCALL_MOVES(Op::kLoad, load, Ty::kS16, s16, u32, 0),
    FARCALL_MOVES(Op::kLoad, load, Ty::kU32, u32, u32, 0),
    FARCALL_MOVES(Op::kLoad, load, Ty::kU8, u8, u64, 4),
    FARCALL_MOVES(Op::kLoad, load, Ty::kS8, s8, u64, 4),
    FARCALL_MOVES(Op::kLoad, load, Ty::kU16, u16, u64, 4),
    FARCALL_MOVES(Op::kLoad, load, Ty::kS16, s16, u64, 4),
    FARCALL_MOVES(Op::kLoad, load, Ty::kU32, u32, u64, 4),
    FARCALL_MOVES(Op::kLoad, load, Ty::kS32, s32, u64, 4),
    FARCALL_MOVES(Op::kLoad, load, Ty::kU64, u64, u64, 4),
    FARCALL_MOVES(Op::kStore, store, Ty::kU8, u8, u32, 0),
    FARCALL_MOVES(Op::kStore, store, Ty::kU16, u16, u32, 0),
    FARCALL_MOVES(Op::kStore, store, Ty::kU32, u32, u32, 0),
    FARCALL_MOVES(Op::kStore, store, Ty::kU8, u8, u64, 4),
    FARCALL_MOVES(Op::kStore, store, Ty::kU16, u16, u64, 4),
    FARCALL_MOVES(Op::kStore, store, Ty::kU32, u32, u64, 4),
    FARCALL_MOVES(Op::kStore, store, Ty::kU64, u64, u64, 4),
    FARCALL_PARAM(Ty::kU8, u8, u32, 0),
    FARCALL_PARAM(Ty::kS8, s8, u32, 0),
    FARCALL_PARAM(Ty::kU16, u16, u32, 0),
    FARCALL_PARAM(Ty::kS16, s16, u32, 0),
    FARCALL_PARAM(Ty::kU32, u32, u32, 0),
    FARCALL_PARAM(Ty::kU8, u8, u64, 4),
    FARCALL_PARAM(Ty::kS8, s8, u64, 4),
    FARCALL_PARAM(Ty::kU16, u16, u64, 4),
    FARCALL_PARAM(Ty::kS16, s16, u64, 4),
    FARCALL_PARAM(Ty::kU32, u32, u64, 4),
    FARCALL_PARAM(Ty::kS32, s32, u64, 4),
    FARCALL_PARAM(Ty::kU64, u64, u64, 4),
};

}  // namespace

namespace FARCALL_ISA {
HandlerList access_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
