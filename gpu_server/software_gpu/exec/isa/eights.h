// Where the lanes of a full warp go when each eight of them are neighbours or all at one place.
//
//   Eights found;
//   if (find_eights(w, i, r, found) == Runs::kNeighbours) … found.at[q] is lane 8 q's host address
//
// Blocks that are 8, 16 or 32 threads wide, rows of tiles, broadcasts: nearly every access of real
// kernels is one of these, and costs four vector moves instead of 32 single ones. Everything that
// must be looked at lane by lane is kOther: faults, ranges not seen before, single places, and
// local memory, where neighbours lie apart.
// Threads: one.  It never faults and never changes a register.
#pragma once
#include "gpu_server/software_gpu/exec/isa/lanes.h"

namespace farcall::softgpu {
namespace {

enum class Runs : u8 { kOther, kNeighbours, kEqual };

struct Eights {
  u64 at[4];  // host address of lane 0, 8, 16 and 24
};

template <class T>
struct EightOf;
template <>
struct EightOf<u32> {
  typedef u32 Type __attribute__((vector_size(32)));
};
template <>
struct EightOf<u64> {
  typedef u64 Type __attribute__((vector_size(64)));
};
using Eight = EightOf<u32>::Type;

inline bool any(Eight x) {
#if defined(__AVX__)
  typedef long long Quad __attribute__((vector_size(32)));
  const Quad y = reinterpret_cast<Quad>(x);
  return __builtin_ia32_ptestz256(y, y) == 0;
#else
  typedef u64 Quad __attribute__((vector_size(32)));
  const Quad y = reinterpret_cast<Quad>(x);
  return ((y[0] | y[1]) | (y[2] | y[3])) != 0;
#endif
}
inline bool any(EightOf<u64>::Type x) {
  Eight halves[2];
  __builtin_memcpy(halves, &x, sizeof x);
  return any(halves[0] | halves[1]);
}

// Whether each eight of a row of addresses are neighbours, or equal.
template <class T>
inline Runs runs_of(const Row<T>* a, u32 size_log2) {
  using Vector = typename EightOf<T>::Type;
  const Vector steps = Vector{0, 1, 2, 3, 4, 5, 6, 7} << size_log2;
  Vector apart = {}, unequal = {};
  for (int q = 0; q < 4; ++q) {
    Vector x;
    __builtin_memcpy(&x, a + 8 * q, sizeof x);
    const Vector delta = x - x[0];
    apart |= delta ^ steps;
    unequal |= delta;
  }
  if (!any(apart)) return Runs::kNeighbours;
  return any(unequal) ? Runs::kOther : Runs::kEqual;
}

// Keeps a number out of vectors: put together from four scalars and taken apart again, they would
// make each access wait for the stores of its own addresses.
inline u64 scalar(u64 x) {
  asm("" : "+r"(x));
  return x;
}

// Of offsets into shared memory and parameters with 32 bits; the sum with the immediate wraps, as
// addresses of 32 bits do, but eights that wrap are not neighbours in the window.
inline Runs eights_of_window(const Warp& w, const Ins* i, std::byte* r, Eights& found,
                             RangeCache& window) {
  const bool shared = i->space == Space::kShared;
  window.base = reinterpret_cast<u64>(shared ? w.shared : w.params);
  window.bytes = shared ? w.shared_bytes : w.param_bytes;
  const Row<u32>* a = row<u32>(r, i->a);
  for (int q = 0; q < 4; ++q) found.at[q] = scalar(a[8 * q] + static_cast<u32>(i->imm));
  return runs_of<u32>(a, i->size_log2);
}

inline Runs eights_of_range(const Warp& w, const Ins* i, std::byte* r, Eights& found,
                            RangeCache& window) {
  window = w.ranges[i->slot];
  const Row<u64>* a = row<u64>(r, i->a);
  const u64 start = static_cast<u64>(i->imm) - window.base;
  for (int q = 0; q < 4; ++q) found.at[q] = scalar(a[8 * q] + start);
  return runs_of<u64>(a, i->size_log2);
}

__attribute__((noinline)) Runs find_eights(const Warp& w, const Ins* i, std::byte* r,
                                           Eights& found) {
  RangeCache window;
  Runs runs = Runs::kOther;
  if (i->space == Space::kShared || i->space == Space::kParam) {
    if ((i->flags & kAddress32) == 0) return Runs::kOther;
    runs = eights_of_window(w, i, r, found, window);
  } else if (i->space != Space::kLocal) {
    runs = eights_of_range(w, i, r, found, window);
  }
  if (runs == Runs::kOther) return runs;
  const u64 size = u64{1} << i->size_log2, span = runs == Runs::kEqual ? size : 8 * size;
  u64 high = 0, bits = window.base;
  for (int q = 0; q < 4; ++q) {
    const u64 offset = scalar(found.at[q]);
    high = scalar(offset > high ? offset : high);
    bits = scalar(bits | offset);
    found.at[q] = scalar(offset + window.base);
  }
  const bool inside = span <= window.bytes && high <= window.bytes - span;
  return inside && (bits & (size - 1)) == 0 ? runs : Runs::kOther;
}

}  // namespace
}  // namespace farcall::softgpu
