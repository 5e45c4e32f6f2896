// Between rows of registers and eights of neighbours in memory, by vectors of the host.
//
//   load_neighbours<u8, u32, 1>(found.at[q], 0, x[q]);   // eight bytes, extended
//   put_eights(d, x);
//
// In an unnamed namespace, as lanes.h, and for the same reason.  Threads: one.
#pragma once
#include "gpu_server/software_gpu/exec/fence.h"
#include "gpu_server/software_gpu/exec/isa/eights.h"

namespace farcall::softgpu {
namespace {

// Sign or zero extension of a memory value to a register of type D.
template <class D, class T>
inline D extend(T x) {
  return static_cast<D>(static_cast<s64>(x));
}

inline u32 element_row(const Ins* i, int v) {
  return v == 0 ? i->d : v == 1 ? i->e : v == 2 ? i->b : i->c;
}

// Into a row with stores as wide as the loads that will follow, so that these need not wait.
inline void put_eights(Row<u32>* d, const Eight* x) {
  typedef u32 Sixteen __attribute__((vector_size(64)));
  for (int q = 0; q < 4; q += 2) {
    const Sixteen both = __builtin_shufflevector(x[q], x[q + 1], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                                 11, 12, 13, 14, 15);
    __builtin_memcpy(d + 8 * q, &both, sizeof both);
  }
}
inline void put_eights(Row<u64>* d, const EightOf<u64>::Type* x) {
  __builtin_memcpy(d, x, 4 * sizeof *x);
}

template <class T>
struct EightInMemory {
  typedef T Type __attribute__((vector_size(8 * sizeof(T))));
};

// Element v of eight neighbours that have kCount each, extended.
template <class T, class D, int kCount>
FARCALL_KERNEL_MEMORY inline void load_neighbours(u64 at, int v, typename EightOf<D>::Type& to) {
  if constexpr (kCount == 1) {
    using From = typename EightInMemory<T>::Type;
    From x;
    __builtin_memcpy(&x, reinterpret_cast<const void*>(at), sizeof x);
    to = __builtin_convertvector(x, typename EightOf<D>::Type);
  } else {
    using M = typename RawAlias<T>::Type;
    const M* from = reinterpret_cast<const M*>(at) + v;
    D y[8];
    for (int l = 0; l < 8; ++l) y[l] = extend<D, T>(from[l * kCount]);
    __builtin_memcpy(&to, y, sizeof y);
  }
}

#if defined(__AVX512F__)
typedef u32 Sixteen __attribute__((vector_size(64)));

// Four elements of each of eight neighbours, one row for each element, and back.
inline void load_fours(u64 at, Eight (&x)[4]) {
  Sixteen low, high;  // lanes' places are aligned to 16 bytes at least, not to 64
  __builtin_memcpy(&low, reinterpret_cast<const void*>(at), sizeof low);
  __builtin_memcpy(&high, reinterpret_cast<const void*>(at + sizeof low), sizeof high);
  x[0] = __builtin_shufflevector(low, high, 0, 4, 8, 12, 16, 20, 24, 28);
  x[1] = __builtin_shufflevector(low, high, 1, 5, 9, 13, 17, 21, 25, 29);
  x[2] = __builtin_shufflevector(low, high, 2, 6, 10, 14, 18, 22, 26, 30);
  x[3] = __builtin_shufflevector(low, high, 3, 7, 11, 15, 19, 23, 27, 31);
}
inline void store_fours(u64 at, const Eight (&x)[4]) {
  const Sixteen even =
      __builtin_shufflevector(x[0], x[1], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const Sixteen odd =
      __builtin_shufflevector(x[2], x[3], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const Sixteen low =
      __builtin_shufflevector(even, odd, 0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
  const Sixteen high = __builtin_shufflevector(even, odd, 4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22,
                                               30, 7, 15, 23, 31);
  __builtin_memcpy(reinterpret_cast<void*>(at), &low, sizeof low);
  __builtin_memcpy(reinterpret_cast<void*>(at + sizeof low), &high, sizeof high);
}

FARCALL_KERNEL_MEMORY inline void load_all_fours(const Ins* i, std::byte* r, const Eights& found) {
  Eight x[4][4];
  for (int q = 0; q < 4; ++q) load_fours(found.at[q], x[q]);
  for (int v = 0; v < 4; ++v) {
    std::byte* const d = r + element_row(i, v);
    for (int q = 0; q < 4; q += 2) {
      const Sixteen both = __builtin_shufflevector(x[q][v], x[q + 1][v], 0, 1, 2, 3, 4, 5, 6, 7, 8,
                                                   9, 10, 11, 12, 13, 14, 15);
      __builtin_memcpy(d + 32 * q, &both, sizeof both);
    }
  }
}
FARCALL_KERNEL_MEMORY inline void store_all_fours(const Ins* i, std::byte* r, const Eights& found) {
  for (int q = 0; q < 4; ++q) {
    Eight x[4];
    for (int v = 0; v < 4; ++v) __builtin_memcpy(&x[v], r + element_row(i, v) + 32 * q, 32);
    store_fours(found.at[q], x);
  }
}
#endif

}  // namespace
}  // namespace farcall::softgpu
