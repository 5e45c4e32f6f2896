// The words whose bytes go from the caller to the driver.
//
// Each word has two halves, one object per parameter of a call:
//   Ask<W, T>    in the client: check() before anything is sent, ask() writes, take() reads the
//                reply, agree() compares what several have taken, commit() stores what needed no
//                reply
//   Serve<W, T>  in the server: load() reads, bind() compares lengths with the length parameters
//                and reserves room, pass() is what the driver gets, answer() writes,
//                done() runs after the driver's success
// A half that has nothing to do in a step inherits the empty step.
// A blob carries its own length and the server compares it with the length parameter, so a client
// that lies about either cannot make the driver read past what was sent.
#pragma once
#include <cstring>

#include "transport/api/deep.h"
#include "transport/api/load.h"
#include "transport/base/limits.h"

namespace farcall::api {

template <class W, class T>
struct Ask;
template <class W, class T>
struct Serve;

struct AskSilent {
  static CUresult check(Counts) { return CUDA_SUCCESS; }
  static void ask(wire::Writer&, Counts) {}
  static void take(wire::Reader&, Counts) {}
  static void agree(wire::Reader&, Counts, Counts) {}
  static void commit() {}
  static std::uint64_t count() { return 0; }
};
struct ServeSilent {
  static void load(Load&) {}
  static void bind(Load&, Counts) {}
  static void answer(Answer&, Counts) {}
  static void done(Handles&) {}
  static constexpr int kParent = -1;  // whose id the answered handle hangs on
  static std::uint64_t count() { return 0; }
  static std::uint64_t id() { return 0; }
};

// The length of a null array: told apart from an empty one, because CUDA does.
inline constexpr std::uint32_t kNullArray = 0xffffffff;

// What a length parameter says, widened; a negative one becomes huge and is refused by every limit.
template <class T>
std::uint64_t count_of(const T& value) {
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return static_cast<std::uint64_t>(value);
  } else {
    return 0;
  }
}
// May an array of `count` elements be sent? A negative count is the program's mistake, one beyond
// the limit is ours.
inline CUresult check_items(std::uint64_t count) {
  if (count <= limits::kArrayItemsMax) return CUDA_SUCCESS;
  return count > INT64_MAX ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_SUPPORTED;
}

// --- In: a value, enum or handle
// -------------------------------------------------------------------
template <class T>
struct Ask<In, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  void ask(wire::Writer& out, Counts) const { put_item(out, value); }
  std::uint64_t count() const { return count_of(value); }
};
template <class T>
struct Serve<In, T> : ServeSilent {
  T value{};
  void load(Load& load) { value = load_item<T>(load); }
  T pass() { return value; }
  std::uint64_t count() const { return count_of(value); }
};
template <Handle T>
struct Serve<In, T> : ServeSilent {
  T value{};
  std::uint64_t own_id = 0;
  void load(Load& load) { value = static_cast<T>(load.object(kKindOf<T>, &own_id)); }
  T pass() { return value; }
  std::uint64_t id() const { return own_id; }
};
// An enum may hold any number a program passes, so it stays a number until it reaches the driver.
template <class T>
requires std::is_enum_v<T>
struct Serve<In, T> : ServeSilent {
  std::underlying_type_t<T> value{};
  void load(Load& load) { value = load.in.get<std::underlying_type_t<T>>(); }
  T pass() { return static_cast<T>(value); }
  std::uint64_t count() const { return static_cast<std::uint64_t>(value); }
};

// --- InDevice: In, renumbered by the client
// -----------------------------------------------------------------
template <>
struct Ask<InDevice, CUdevice> : AskSilent {
  CUdevice value;
  explicit Ask(CUdevice from) : value(from) {}
  void ask(wire::Writer& out, Counts) const { out.put(server_device(value)); }
};
template <>
struct Serve<InDevice, CUdevice> : Serve<In, CUdevice> {};

// --- Drop: In, and the handle is forgotten after success
// -------------------------------------------
template <class T>
struct Ask<Drop, T> : Ask<In, T> {
  using Ask<In, T>::Ask;
};
template <class T>
struct Serve<Drop, T> : Serve<In, T> {
  void load(Load& load) {
    Serve<In, T>::load(load);
    // CUDA's own streams are not anybody's to destroy.
    if (this->own_id != 0 && this->own_id < kClientIdMin) load.refuse(bad_handle(kKindOf<T>));
  }
  void done(Handles& handles) const {
    if (this->own_id != 0) handles.drop(kKindOf<T>, this->own_id);
  }
};

// --- Null: must be null
// ----------------------------------------------------------------------------
template <class T>
struct Ask<Null, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) const {
    return value == nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
  }
};
template <class T>
struct Serve<Null, T> : ServeSilent {
  static T pass() { return nullptr; }
};

// --- InAddress: a device address typed void*
// ---------------------------------------------------------
template <>
struct Ask<InAddress, void*> : AskSilent {
  void* value;
  explicit Ask(void* from) : value(from) {}
  void ask(wire::Writer& out, Counts) const {
    out.put(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(value)));
  }
};
template <>
struct Serve<InAddress, void*> : ServeSilent {
  void* value = nullptr;
  void load(Load& load) {
    value = reinterpret_cast<void*>(static_cast<std::uintptr_t>(load.in.get<std::uint64_t>()));
  }
  void* pass() { return value; }
};

// --- InStr: a string with its NUL, used in place
// -----------------------------------------------------
template <>
struct Ask<InStr, const char*> : AskSilent {
  const char* value;
  explicit Ask(const char* from) : value(from) {}
  CUresult check(Counts) const {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    return strnlen(value, limits::kStringBytesMax) < limits::kStringBytesMax
               ? CUDA_SUCCESS
               : CUDA_ERROR_NOT_SUPPORTED;
  }
  void ask(wire::Writer& out, Counts) const {
    std::size_t bytes = std::strlen(value) + 1;
    out.put(static_cast<std::uint32_t>(bytes));
    out.bytes(value, bytes);
  }
};
template <>
struct Serve<InStr, const char*> : ServeSilent {
  const char* value = nullptr;
  void load(Load& load) {
    auto bytes = load.in.bytes(load.in.get<std::uint32_t>());
    if (bytes.empty() || bytes.size() > limits::kStringBytesMax ||
        std::memchr(bytes.data(), 0, bytes.size()) != &bytes.back()) {
      load.in.fail();
      return;
    }
    value = reinterpret_cast<const char*>(bytes.data());
  }
  const char* pass() { return value; }
};

// --- InOne: one T or null
// ----------------------------------------------------------------------------
template <class T>
struct Ask<InOne, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  void ask(wire::Writer& out, Counts) const {
    out.put(static_cast<std::uint8_t>(value != nullptr));
    if (value != nullptr) put_item(out, *value);
  }
};
template <class T>
struct Serve<InOne, T> : ServeSilent {
  bool there = false;
  Pointee<T> own{};
  void load(Load& load) {
    auto flag = load.in.get<std::uint8_t>();
    if (flag > 1) load.in.fail();
    there = flag == 1;
    if (there) own = load_item<Pointee<T>>(load);
  }
  T pass() { return there ? &own : nullptr; }
};

// --- InDeep: one T with pointers or handles inside, or null
// --------------------------------------------
template <class T>
struct Ask<InDeep, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) const {
    return value == nullptr ? CUDA_SUCCESS : Deep<Pointee<T>>::check(*value);
  }
  void ask(wire::Writer& out, Counts) const {
    out.put(static_cast<std::uint8_t>(value != nullptr));
    if (value != nullptr) Deep<Pointee<T>>::put(out, *value);
  }
};
template <class T>
struct Serve<InDeep, T> : ServeSilent {
  bool there = false;
  Pointee<T> own{};
  void load(Load& load) {
    auto flag = load.in.get<std::uint8_t>();
    if (flag > 1) load.in.fail();
    there = flag == 1;
    if (there) Deep<Pointee<T>>::load(load, own);
  }
  T pass() { return there ? &own : nullptr; }
};

// --- InArr, InArrLess: elements, or null
// -----------------------------------------------------------------
template <class T, int kParameter, int kLess>
struct AskArray : AskSilent {
  T value;
  explicit AskArray(T from) : value(from) {}
  static std::uint64_t items(Counts counts) {
    std::uint64_t said = counts[kParameter];
    return said >= kLess ? said - kLess : 0;
  }
  CUresult check(Counts counts) const {
    return value == nullptr ? CUDA_SUCCESS : check_items(items(counts));
  }
  void ask(wire::Writer& out, Counts counts) const {
    if (value == nullptr) return out.put(kNullArray);
    auto count = static_cast<std::uint32_t>(items(counts));
    out.put(count);
    for (std::uint32_t i = 0; i < count; ++i) put_item(out, value[i]);
  }
};
template <class T, int kParameter, int kLess>
struct ServeArray : ServeSilent {
  Pointee<T>* value = nullptr;
  std::uint32_t items = kNullArray;
  void load(Load& load) {
    items = load.in.get<std::uint32_t>();
    if (items == kNullArray || load.in.failed()) return;
    if (items > limits::kArrayItemsMax) return load.in.fail();
    value = load.scratch.array<Pointee<T>>(items);
    if (value == nullptr) return load.in.fail();
    for (std::uint32_t i = 0; i < items && !load.in.failed(); ++i) {
      value[i] = load_item<Pointee<T>>(load);
    }
  }
  void bind(Load& load, Counts counts) const {
    std::uint64_t said = counts[kParameter];
    if (items != kNullArray && items != (said >= kLess ? said - kLess : 0)) load.in.fail();
  }
  T pass() { return value; }
};
template <int N, class T>
struct Ask<InArr<N>, T> : AskArray<T, N, 0> {
  using AskArray<T, N, 0>::AskArray;
};
template <int N, class T>
struct Serve<InArr<N>, T> : ServeArray<T, N, 0> {};
template <int N, int kLess, class T>
struct Ask<InArrLess<N, kLess>, T> : AskArray<T, N, kLess> {
  using AskArray<T, N, kLess>::AskArray;
};
template <int N, int kLess, class T>
struct Serve<InArrLess<N, kLess>, T> : ServeArray<T, N, kLess> {};

// --- InFixed: a number of elements that CUDA fixes
// ---------------------------------------------------------
template <int kItems, class T>
struct Ask<InFixed<kItems>, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) const {
    return value != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  void ask(wire::Writer& out, Counts) const {
    for (int i = 0; i < kItems; ++i) put_item(out, value[i]);
  }
};
template <int kItems, class T>
struct Serve<InFixed<kItems>, T> : ServeSilent {
  Pointee<T> own[kItems] = {};
  void load(Load& load) {
    for (auto& item : own) item = load_item<Pointee<T>>(load);
  }
  T pass() { return own; }
};

// --- InBytes, InSized: a blob, copied into aligned scratch
// -------------------------------------------------
template <class T>
struct AskBlob : AskSilent {
  T value;
  explicit AskBlob(T from) : value(from) {}
  void write(wire::Writer& out, std::uint64_t bytes) const {
    if (value == nullptr) return out.put(kNullArray);
    out.put(static_cast<std::uint32_t>(bytes));
    out.bytes(value, bytes);
  }
};
template <class T>
struct ServeBlob : ServeSilent {
  void* value = nullptr;
  std::uint32_t bytes = kNullArray;
  void load(Load& load) {
    bytes = load.in.get<std::uint32_t>();
    if (bytes == kNullArray || load.in.failed()) return;
    auto from = load.in.bytes(bytes);
    value = load.in.failed() ? nullptr : load.scratch.take(bytes);
    if (value == nullptr) return load.in.fail();
    if (!from.empty()) std::memcpy(value, from.data(), from.size());
  }
  void compare(Load& load, std::uint64_t said) const {
    if (bytes != kNullArray && bytes != said) load.in.fail();
  }
  T pass() { return static_cast<T>(value); }
};
template <int N>
struct Ask<InBytes<N>, const void*> : AskBlob<const void*> {
  using AskBlob::AskBlob;
  CUresult check(Counts counts) const {
    if (counts[N] > limits::kInlineCopyBytesMax) return CUDA_ERROR_NOT_SUPPORTED;
    return value == nullptr && counts[N] != 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  }
  void ask(wire::Writer& out, Counts counts) const { write(out, counts[N]); }
};
template <int N>
struct Serve<InBytes<N>, const void*> : ServeBlob<const void*> {
  void bind(Load& load, Counts counts) const { compare(load, counts[N]); }
};
template <int N, auto kBytesOf, class T>
struct Ask<InSized<N, kBytesOf>, T> : AskBlob<T> {
  using AskBlob<T>::AskBlob;
  CUresult check(Counts counts) const {
    return this->value == nullptr || kBytesOf(counts[N]) == 0 ? CUDA_ERROR_INVALID_VALUE
                                                              : CUDA_SUCCESS;
  }
  void ask(wire::Writer& out, Counts counts) const { this->write(out, kBytesOf(counts[N])); }
};
template <int N, auto kBytesOf, class T>
struct Serve<InSized<N, kBytesOf>, T> : ServeBlob<T> {
  void bind(Load& load, Counts counts) const {
    if (this->bytes == kNullArray || kBytesOf(counts[N]) == 0) return load.in.fail();
    this->compare(load, kBytesOf(counts[N]));
  }
};

}  // namespace farcall::api
