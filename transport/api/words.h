// The vocabulary of the API table: one word per parameter, in prototype order.
//
//   API(0x0504, cuMemAllocPitch_v2, Sync, Out, Out, In, In, In)
//
// A word says how its parameter crosses the wire and is checked against the prototype in cuda.h at
// compile time: a wrong word, or one too few, does not build. What each word sends is in codec_in.h
// and codec_out.h. `N` in a word is the index of another parameter, from 0.
#pragma once
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "transport/cuda/cuda_abi.h"

namespace farcall::api {

// The word as a number, for the fingerprint of the table.
template <int kNumber>
struct Tag {
  static constexpr int kTag = kNumber;
};

// --- caller to driver ---

// A value, enum or handle.
struct In : Tag<1> {};
// A CUdevice: the program's number here, the server's on the wire (device_numbers.h). Every
// CUdevice parameter has this word or OutDevice; a test compares the rows with cuda.h.
struct InDevice : Tag<22> {};
// A handle that is gone when the call has succeeded.
struct Drop : Tag<2> {};
// A pointer that must be null; anything else is CUDA_ERROR_NOT_SUPPORTED.
struct Null : Tag<3> {};
// void* that is a device address, passed on as a number.
struct InAddress : Tag<4> {};
// const char*, ends with NUL, not null.
struct InStr : Tag<5> {};
// const T*, one T, may be null.
struct InOne : Tag<6> {};
// const T*, one T with pointers or handles inside, may be null. Needs Deep<T>.
struct InDeep : Tag<7> {};
// T*, element count in parameter N, may be null.
template <int N>
struct InArr : Tag<8 + 256 * (N + 1)> {};
// T*, kLess elements fewer than parameter N says, may be null. Tensor maps have strides for one
// dimension less than they have dimensions, and so on.
template <int N, int kLess>
struct InArrLess : Tag<9 + 256 * (N + 1) + 65536 * kLess> {};
template <int N>
using InArrBut1 = InArrLess<N, 1>;
template <int N>
using InArrBut2 = InArrLess<N, 2>;
// const void*, byte count in parameter N; at most kInlineCopyBytesMax.
template <int N>
struct InBytes : Tag<10 + 256 * (N + 1)> {};
// Pointer to kBytesOf(parameter N) bytes; CUDA_ERROR_INVALID_VALUE where that is 0.
template <int N, auto kBytesOf>
struct InSized : Tag<11 + 256 * (N + 1)> {};

// T*, kItems elements, must not be null.
template <int kItems>
struct InFixed : Tag<24 + 256 * kItems> {};

// --- driver to caller ---

// Handle*, the client mints the id, so that creation waits for nothing.
struct New : Tag<12> {};
// CUdevice*, must not be null; see InDevice.
struct OutDevice : Tag<23> {};
// T*, one T, must not be null.
struct Out : Tag<13> {};
// Handle*, like Out; the object belongs to the handle in parameter N and goes with it.
template <int N>
struct OutOf : Tag<14 + 256 * (N + 1)> {};
// T*, one T, may be null.
struct OutOpt : Tag<15> {};
// T*, read and written, must not be null.
struct InOut : Tag<16> {};
// const char**, a string that lives as long as the session.
struct OutName : Tag<17> {};
// T*, element count in parameter N, may be null.
template <int N>
struct OutArr : Tag<18 + 256 * (N + 1)> {};
// T*, may be null; parameter N is InOut: room before the call, count after.
template <int N>
struct OutList : Tag<19 + 256 * (N + 1)> {};
// Handle*, like OutList; the objects go with the handle in parameter P or, when that is a graph's
// node, with its graph.
template <int N, int P>
struct OutListOf : Tag<22 + 256 * (N + 1) + 65536 * (P + 1)> {};
template <int N>
using OutNodes = OutListOf<N, 0>;  // a row counts its words by their commas
// Pointer to room for kBytesOf(parameter N) bytes; CUDA_ERROR_INVALID_VALUE where that is 0.
template <int N, auto kBytesOf>
struct OutSized : Tag<20 + 256 * (N + 1)> {};
// T*, one T with handles inside, must not be null. Needs DeepAnswer<T>.
struct OutDeep : Tag<21> {};

// T*, kItems elements, must not be null.
template <int kItems>
struct OutFixed : Tag<25 + 256 * kItems> {};

// When the caller goes on, and who may wait.
enum class When : std::uint8_t {
  Sync,    // one round trip
  Waits,   // one round trip, and the driver may wait for the GPU: runs on the thread's waiter
  Queued,  // posted; CUDA_SUCCESS at once; a failure surfaces at a later round trip
  Cached,  // the same request has the same reply for the life of the session
};

template <class... W>
struct Words {};

// Opaque driver objects are pointers to incomplete types. They cross the wire as 64-bit ids.
template <class T>
concept Handle = std::is_pointer_v<T> && std::is_class_v<std::remove_pointer_t<T>> && !requires {
  sizeof(std::remove_pointer_t<T>);
};

// A struct is sent as bytes only when structs.def lists it: one with a host pointer inside is
// trivially copyable too, and must never be.
template <class T>
inline constexpr bool kListed = false;
#define PLAIN(T) \
  template <>    \
  inline constexpr bool kListed<::T> = true;
#include "transport/api/structs.def"
#undef PLAIN

template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> &&
                (!(std::is_class_v<T> || std::is_union_v<T>) || kListed<T>);

// What one element of an array or the target of a pointer may be.
template <class T>
concept Item = Plain<T> || Handle<T>;

template <class T>
using Pointee = std::remove_cv_t<std::remove_pointer_t<T>>;

namespace detail {

template <class T>
constexpr bool is_const_target = std::is_pointer_v<T>&& std::is_const_v<std::remove_pointer_t<T>>;
template <class T>
constexpr bool is_item_pointer() {
  if constexpr (!std::is_pointer_v<T> || Handle<T>) {
    return false;
  } else if constexpr (std::is_void_v<Pointee<T>> || std::is_function_v<Pointee<T>>) {
    return false;
  } else {
    return Item<Pointee<T>>;
  }
}
template <class T>
constexpr bool is_handle_pointer() {
  if constexpr (is_item_pointer<T>()) return Handle<Pointee<T>>;
  return false;
}
template <class T>
constexpr bool is_out = is_item_pointer<T>() && !is_const_target<T>;

template <class F, int N>
struct Nth;
template <class R, class... A, int N>
struct Nth<R(A...), N> : std::tuple_element<static_cast<std::size_t>(N), std::tuple<A...>> {};
template <class F, int N>
using Param = typename Nth<F, N>::type;
template <class F, int N>
constexpr bool is_count = std::is_integral_v<Param<F, N>> || std::is_enum_v<Param<F, N>>;

// Fits<W, F, T>: may word W stand for a parameter of type T in a function of type F?
template <class W, class F, class T>
struct Fits : std::false_type {};
template <class F, class T>
struct Fits<In, F, T> : std::bool_constant<Item<T>> {};
template <class F>
struct Fits<InDevice, F, CUdevice> : std::true_type {};
template <class F>
struct Fits<OutDevice, F, CUdevice*> : std::true_type {};
template <class F, class T>
struct Fits<Drop, F, T> : std::bool_constant<Handle<T>> {};
template <class F, class T>
struct Fits<Null, F, T> : std::bool_constant<std::is_pointer_v<T>> {};
template <class F>
struct Fits<InAddress, F, void*> : std::true_type {};
template <class F>
struct Fits<InStr, F, const char*> : std::true_type {};
template <class F, class T>
struct Fits<InOne, F, T> : std::bool_constant<is_item_pointer<T>()> {};
template <class F, class T>
struct Fits<InDeep, F, T> : std::bool_constant<std::is_pointer_v<T> && !Handle<T>> {};
template <int N, class F, class T>
struct Fits<InArr<N>, F, T> : std::bool_constant<is_item_pointer<T>() && is_count<F, N>> {};
template <int N, int kLess, class F, class T>
struct Fits<InArrLess<N, kLess>, F, T> : Fits<InArr<N>, F, T> {};
template <int N, class F>
struct Fits<InBytes<N>, F, const void*> : std::bool_constant<is_count<F, N>> {};
template <int N, auto kB, class F, class T>
struct Fits<InSized<N, kB>, F, T>
    : std::bool_constant<std::is_pointer_v<T> && !Handle<T> && is_count<F, N>> {};
template <class F, class T>
struct Fits<New, F, T> : std::bool_constant<is_handle_pointer<T>()> {};
template <class F, class T>
struct Fits<Out, F, T> : std::bool_constant<is_out<T>> {};
template <int N, class F, class T>
struct Fits<OutOf<N>, F, T>
    : std::bool_constant<is_out<T> && is_handle_pointer<T>() && Handle<Param<F, N>>> {};
template <class F, class T>
struct Fits<OutDeep, F, T> : Fits<InDeep, F, T> {};
template <class F, class T>
struct Fits<OutOpt, F, T> : std::bool_constant<is_out<T>> {};
template <class F, class T>
struct Fits<InOut, F, T> : std::bool_constant<is_out<T>> {};
template <class F>
struct Fits<OutName, F, const char**> : std::true_type {};
template <int N, class F, class T>
struct Fits<OutArr<N>, F, T> : std::bool_constant<is_out<T> && is_count<F, N>> {};
template <int N, class F, class T>
struct Fits<OutList<N>, F, T>
    : std::bool_constant<is_out<T> && std::is_integral_v<Pointee<Param<F, N>>>> {};
template <int N, int P, class F, class T>
struct Fits<OutListOf<N, P>, F, T>
    : std::bool_constant<Fits<OutList<N>, F, T>::value && is_handle_pointer<T>() &&
                         Handle<Param<F, P>>> {};
template <int N, auto kB, class F, class T>
struct Fits<OutSized<N, kB>, F, T> : Fits<InSized<N, kB>, F, T> {};
template <int kItems, class F, class T>
struct Fits<InFixed<kItems>, F, T> : std::bool_constant<is_item_pointer<T>()> {};
template <int kItems, class F, class T>
struct Fits<OutFixed<kItems>, F, T> : std::bool_constant<is_out<T>> {};

}  // namespace detail

// Do the words L fit the function type F?
template <class F, class L>
struct WordsFit;
template <class R, class... A, class... W>
struct WordsFit<R(A...), Words<W...>> {
  static consteval bool check() {
    if constexpr (sizeof...(A) != sizeof...(W)) {
      return false;
    } else {
      return (detail::Fits<W, R(A...), A>::value && ...);
    }
  }
};

}  // namespace farcall::api
