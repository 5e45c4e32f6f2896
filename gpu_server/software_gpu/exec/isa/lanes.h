// Building blocks of handlers: typed rows and loops over 32 lanes.
//
//   struct Add { template <class T> static T f(T x, T y) { return static_cast<T>(x + y); } };
//   { handler_key(Op::kAdd, Ty::kU32), binary<Add, u32, true>, binary<Add, u32, false> }
//
// Everything here is in an unnamed namespace on purpose: the files that include it are compiled for
// several instruction sets, and code with external linkage would be merged across them.
#pragma once
#include <cstddef>
#include <cstdint>

#include "gpu_server/software_gpu/exec/warp.h"

namespace farcall::softgpu {
namespace {

using u8 = std::uint8_t;
using s8 = std::int8_t;
using u16 = std::uint16_t;
using s16 = std::int16_t;
using u32 = std::uint32_t;
using s32 = std::int32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;
using f32 = float;
using f64 = double;

// The value of type T in a register, and how a register row stores it.
template <class T>
struct Cell {
  using Stored = u32;
  static T get(u32 x) { return static_cast<T>(x); }
  static u32 put(T x) { return static_cast<u32>(static_cast<s32>(x)); }
};
template <>
struct Cell<u32> {
  using Stored = u32;
  static u32 get(u32 x) { return x; }
  static u32 put(u32 x) { return x; }
};
template <>
struct Cell<u64> {
  using Stored = u64;
  static u64 get(u64 x) { return x; }
  static u64 put(u64 x) { return x; }
};
template <>
struct Cell<s64> {
  using Stored = u64;
  static s64 get(u64 x) { return static_cast<s64>(x); }
  static u64 put(s64 x) { return static_cast<u64>(x); }
};
template <>
struct Cell<f32> {
  using Stored = f32;
  static f32 get(f32 x) { return x; }
  static f32 put(f32 x) { return x; }
};
template <>
struct Cell<f64> {
  using Stored = f64;
  static f64 get(f64 x) { return x; }
  static f64 put(f64 x) { return x; }
};

template <int kBytes>
struct Sized {
  using Unsigned = u32;
};
template <>
struct Sized<8> {
  using Unsigned = u64;
};

template <class T>
using Stored = typename Cell<T>::Stored;

// Rows are plain memory reused for values of several types, as registers are.
template <class T>
struct MayAlias {
  typedef T Type __attribute__((__may_alias__));
};
template <class T>
struct RawAlias {
  typedef T Type __attribute__((__may_alias__));
};
template <class T>
using Row = typename MayAlias<Stored<T>>::Type;

template <class T>
inline Row<T>* row(std::byte* frame, u32 offset) {
  return static_cast<Row<T>*>(__builtin_assume_aligned(frame + offset, 64));
}
inline u32& pred(std::byte* frame, u32 offset) {
  return *reinterpret_cast<typename MayAlias<u32>::Type*>(frame + offset);
}

#if defined(__clang__)
#  define FARCALL_LANES _Pragma("clang loop vectorize(assume_safety)") for (int l = 0; l < 32; ++l)
#else
#  define FARCALL_LANES _Pragma("GCC ivdep") for (int l = 0; l < 32; ++l)
#endif

// d = running lane ? x : d. Rows are always there in full, so the write can be unconditional.
template <bool kFull, class D>
inline void put(Row<D>* d, int l, D x, const u32* lanes) {
  if constexpr (kFull) {
    d[l] = Cell<D>::put(x);
  } else {
    d[l] = lanes[l] != 0 ? Cell<D>::put(x) : d[l];
  }
}

template <class F, class D, class A, bool kFull>
const Ins* unary(Warp& w, const Ins* i, std::byte* r) {
  Row<D>* d = row<D>(r, i->d);
  const Row<A>* a = row<A>(r, i->a);
  FARCALL_LANES put<kFull, D>(d, l, F::f(Cell<A>::get(a[l])), w.lanes);
  return i + 1;
}

template <class F, class D, class A, class B, bool kFull>
const Ins* binary(Warp& w, const Ins* i, std::byte* r) {
  Row<D>* d = row<D>(r, i->d);
  const Row<A>* a = row<A>(r, i->a);
  const Row<B>* b = row<B>(r, i->b);
  FARCALL_LANES put<kFull, D>(d, l, F::f(Cell<A>::get(a[l]), Cell<B>::get(b[l])), w.lanes);
  return i + 1;
}

template <class F, class D, class A, class B, class C, bool kFull>
const Ins* ternary(Warp& w, const Ins* i, std::byte* r) {
  Row<D>* d = row<D>(r, i->d);
  const Row<A>* a = row<A>(r, i->a);
  const Row<B>* b = row<B>(r, i->b);
  const Row<C>* c = row<C>(r, i->c);
  FARCALL_LANES put<kFull, D>(
      d, l, F::f(Cell<A>::get(a[l]), Cell<B>::get(b[l]), Cell<C>::get(c[l])), w.lanes);
  return i + 1;
}

// Table entries.
#define FARCALL_UNARY(op, ty, F, D, A) \
  { handler_key(op, ty), unary<F, D, A, true>, unary<F, D, A, false> }
#define FARCALL_BINARY(op, ty, F, D, A, B) \
  { handler_key(op, ty), binary<F, D, A, B, true>, binary<F, D, A, B, false> }
#define FARCALL_TERNARY(op, ty, F, D, A, B, C) \
  { handler_key(op, ty), ternary<F, D, A, B, C, true>, ternary<F, D, A, B, C, false> }

}  // namespace
}  // namespace farcall::softgpu
