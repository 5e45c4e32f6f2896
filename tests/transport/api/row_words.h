// How the table-wide tests treat each word: make an argument for it, look at what the driver got,
// fill what the driver returns, and see that the caller has it.
#pragma once
#include <cstring>
#include <memory>
#include <vector>

#include "tests/transport/api/table_loop.h"
#include "transport/api/codec_out.h"

namespace farcall::api {

// What the made driver function saw and shall do.
struct Seen {
  int runs = 0;
  std::uint64_t inputs = 0;
  CUresult status = CUDA_SUCCESS;
};
inline Seen& seen() {
  static Seen all;
  return all;
}

inline constexpr std::uintptr_t kMadeHandle = 0x51500000;
inline constexpr const char* kMadeName = "a_kernel_name";

// A hash of values. With a handle table, handles are the caller's ids and count as what they stand
// for; without, they are the driver's.
struct Digest {
  explicit Digest(FakeHandles* table) : handles(table) {}
  FakeHandles* handles;
  std::uint64_t value = 14695981039346656037u;
  void bytes(const void* from, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      value = (value ^ static_cast<const unsigned char*>(from)[i]) * 1099511628211u;
    }
  }
  template <class E>
  void item(const E& element) {
    if constexpr (Handle<E>) {
      void* real = element;
      auto id = reinterpret_cast<std::uintptr_t>(real);
      if (handles != nullptr && id != 0) real = handles->find(kKindOf<E>, id);
      bytes(&real, sizeof(real));
    } else if constexpr (NamesDevice<E>) {
      E as_driver = element;
      if (handles != nullptr) renumber(as_driver, server_device);
      bytes(&as_driver, sizeof(as_driver));
    } else {
      bytes(&element, sizeof(element));
    }
  }
};

// The memory of one made call, each piece of its exact size so that a sanitizer sees any overrun.
class Arena {
 public:
  Arena(TableLoop& in, int value) : loop(in), attribute(value) {}
  template <class E>
  E* room(std::size_t count) {
    std::size_t bytes = count * sizeof(E);
    auto* at = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(alignof(E))));
    std::memset(at, 0x11, bytes);
    pieces_.push_back({std::unique_ptr<std::byte, Free>(at, Free{alignof(E)}), bytes, {}});
    return reinterpret_cast<E*>(at);
  }
  template <class E>
  E element() {
    if constexpr (Handle<E>) {
      void* real = reinterpret_cast<void*>(0x10000 + 8 * next_++);
      return reinterpret_cast<E>(loop.handles.add(kKindOf<E>, real, 0));
    } else if constexpr (std::is_integral_v<E> || std::is_enum_v<E>) {
      return static_cast<E>(attribute);
    } else {
      E made;
      std::memset(static_cast<void*>(&made), 0x11, sizeof(made));
      return made;
    }
  }
  void remember() {
    for (Piece& piece : pieces_) piece.before.assign(piece.at.get(), piece.at.get() + piece.bytes);
  }
  bool untouched() const {
    for (const Piece& piece : pieces_) {
      if (std::memcmp(piece.at.get(), piece.before.data(), piece.bytes) != 0) return false;
    }
    return true;
  }
  TableLoop& loop;
  const int attribute;

 private:
  struct Free {
    std::size_t align;
    void operator()(std::byte* at) const { ::operator delete(at, std::align_val_t(align)); }
  };
  struct Piece {
    std::unique_ptr<std::byte, Free> at;
    std::size_t bytes;
    std::vector<std::byte> before;
  };
  std::vector<Piece> pieces_;
  inline static std::uintptr_t next_ = 1;
};

template <class E>
void fill_one(E* to) {
  if constexpr (Handle<E>) {
    *to = reinterpret_cast<E>(kMadeHandle);
  } else {
    std::memset(static_cast<void*>(to), 0x5a, sizeof(E));
  }
}
template <class E>
bool is_filled(const E& at, TableLoop& loop) {
  if constexpr (Handle<E>) {
    auto id = reinterpret_cast<std::uintptr_t>(at);
    return loop.handles.find(kKindOf<E>, id) == reinterpret_cast<void*>(kMadeHandle);
  } else {
    E expected;
    fill_one(&expected);
    return std::memcmp(&at, &expected, sizeof(E)) == 0;
  }
}

// --- structs with a codec of their own
// ----------------------------------------------------------------
void make_deep(Arena& arena, CUlaunchConfig& made);
void make_deep(Arena& arena, CUmemAllocationProp& made);
void make_deep(Arena& arena, CUmemPoolProps& made);
void make_deep(Arena& arena, CUDA_RESOURCE_DESC& made);
void make_deep(Arena& arena, CUDA_MEMCPY3D& made);
void make_deep(Arena& arena, CUDA_BATCH_MEM_OP_NODE_PARAMS& made);
void look_deep(Digest& digest, const CUDA_MEMCPY3D& at);
void look_deep(Digest& digest, const CUDA_BATCH_MEM_OP_NODE_PARAMS& at);
void look_deep(Digest& digest, const CUlaunchConfig& at);
void look_deep(Digest& digest, const CUmemAllocationProp& at);
void look_deep(Digest& digest, const CUmemPoolProps& at);
void look_deep(Digest& digest, const CUDA_RESOURCE_DESC& at);

void fill_deep(CUDA_RESOURCE_DESC& at);
void fill_deep(CUDA_MEMCPY3D& at);
void fill_deep(CUDA_MEM_ALLOC_NODE_PARAMS& at);
bool is_filled_deep(const CUDA_RESOURCE_DESC& at, TableLoop& loop);
bool is_filled_deep(const CUDA_MEMCPY3D& at, TableLoop& loop);
bool is_filled_deep(const CUDA_MEM_ALLOC_NODE_PARAMS& at, TableLoop& loop);

// --- the words
// ------------------------------------------------------------------------------------------
struct WordSilent {
  static constexpr bool kNeedsPointer = false;
  static bool knows(int) { return true; }
  template <class T>
  static void look(Digest&, T, Counts) {}
  template <class T>
  static void fill(T, Counts) {}
  template <class T>
  static bool filled(T, TableLoop&) {
    return true;
  }
};

template <class W, class T>
struct Word;

template <class T>
struct Word<In, T> : WordSilent {
  static T make(Arena& arena) { return arena.element<T>(); }
  static void look(Digest& digest, const T& value, Counts) { digest.item(value); }
};
template <>
struct Word<InDevice, CUdevice> : Word<In, CUdevice> {
  // With a handle table the number is the caller's.
  static void look(Digest& digest, CUdevice value, Counts) {
    digest.item(digest.handles != nullptr ? server_device(value) : value);
  }
};
template <class T>
struct Word<Drop, T> : Word<In, T> {};
template <class T>
struct Word<Null, T> : WordSilent {
  static T make(Arena&) { return nullptr; }
};
template <>
struct Word<InAddress, void*> : WordSilent {
  static void* make(Arena&) { return reinterpret_cast<void*>(0x7f0000001000); }
  static void look(Digest& digest, void* value, Counts) { digest.bytes(&value, sizeof(value)); }
};
template <>
struct Word<InStr, const char*> : WordSilent {
  static const char* make(Arena&) { return kMadeName; }
  static void look(Digest& digest, const char* text, Counts) {
    digest.bytes(text, std::strlen(text));
  }
};
template <class T>
struct Word<InOne, T> : WordSilent {
  static T make(Arena& arena) {
    auto* made = arena.room<Pointee<T>>(1);
    *made = arena.element<Pointee<T>>();
    return made;
  }
  static void look(Digest& digest, T at, Counts) {
    if (at != nullptr) digest.item(*at);
  }
};
template <class T>
struct Word<InDeep, T> : WordSilent {
  static T make(Arena& arena) {
    auto* made = arena.room<Pointee<T>>(1);
    std::memset(static_cast<void*>(made), 0, sizeof(*made));
    make_deep(arena, *made);
    return made;
  }
  static void look(Digest& digest, T at, Counts) {
    if (at != nullptr) look_deep(digest, *at);
  }
};
template <class T, int N, int kLess>
struct WordArray : WordSilent {
  static T make(Arena& arena) {
    auto count = static_cast<std::size_t>(arena.attribute - kLess);
    auto* made = arena.room<Pointee<T>>(count);
    for (std::size_t i = 0; i < count; ++i) made[i] = arena.element<Pointee<T>>();
    return made;
  }
  static void look(Digest& digest, T at, Counts counts) {
    if (at == nullptr) return;
    for (std::uint64_t i = 0; i + kLess < counts[N]; ++i) digest.item(at[i]);
  }
};
template <int N, class T>
struct Word<InArr<N>, T> : WordArray<T, N, 0> {};
template <int N, int kLess, class T>
struct Word<InArrLess<N, kLess>, T> : WordArray<T, N, kLess> {};
template <int N, auto kBytesOf, class T>
struct Word<InSized<N, kBytesOf>, T> : WordSilent {
  static constexpr bool kNeedsPointer = true;
  static bool knows(int attribute) { return kBytesOf(static_cast<std::uint64_t>(attribute)) != 0; }
  static T make(Arena& arena) {
    return reinterpret_cast<T>(arena.room<std::max_align_t>(
        (kBytesOf(static_cast<std::uint64_t>(arena.attribute)) + 15) / sizeof(std::max_align_t) +
        1));
  }
  static void look(Digest& digest, T at, Counts counts) { digest.bytes(at, kBytesOf(counts[N])); }
};

template <class T>
struct Word<Out, T> : WordSilent {
  static constexpr bool kNeedsPointer = true;
  static T make(Arena& arena) { return arena.room<Pointee<T>>(1); }
  static void fill(T at, Counts) {
    if (at != nullptr) fill_one(at);
  }
  static bool filled(T at, TableLoop& loop) { return is_filled(*at, loop); }
};
template <>
struct Word<OutDevice, CUdevice*> : Word<Out, CUdevice*> {
  static bool filled(const CUdevice* at, TableLoop& loop) {
    return is_filled(server_device(*at), loop);
  }
};
template <int N, class T>
struct Word<OutOf<N>, T> : Word<Out, T> {};
template <class T>
struct Word<New, T> : Word<Out, T> {};
template <class T>
struct Word<OutOpt, T> : Word<Out, T> {
  static constexpr bool kNeedsPointer = false;
};
template <class T>
struct Word<InOut, T> : Word<Out, T> {
  static T make(Arena& arena) {
    T made = arena.room<Pointee<T>>(1);
    *made = arena.element<Pointee<T>>();
    return made;
  }
  static void look(Digest& digest, T at, Counts) { digest.item(*at); }
  // A count comes back one smaller, as when a graph has fewer nodes than there was room for.
  static void fill(T at, Counts) {
    if constexpr (std::is_integral_v<Pointee<T>>) {
      if (*at > 0) --*at;
    } else {
      fill_one(at);
    }
  }
  static bool filled(T at, TableLoop& loop) {
    if constexpr (std::is_integral_v<Pointee<T>>) return true;
    return is_filled(*at, loop);
  }
};
template <>
struct Word<OutName, const char**> : WordSilent {
  static constexpr bool kNeedsPointer = true;
  static const char** make(Arena& arena) { return arena.room<const char*>(1); }
  static void fill(const char** at, Counts) { *at = kMadeName; }
  static bool filled(const char** at, TableLoop&) { return std::strcmp(*at, kMadeName) == 0; }
};
template <class T>
struct Word<OutDeep, T> : WordSilent {
  static constexpr bool kNeedsPointer = true;
  static T make(Arena& arena) { return arena.room<Pointee<T>>(1); }
  static void fill(T at, Counts) { fill_deep(*at); }
  static bool filled(T at, TableLoop& loop) { return is_filled_deep(*at, loop); }
};
template <int N, class T>
struct Word<OutArr<N>, T> : WordSilent {
  static T make(Arena& arena) {
    return arena.room<Pointee<T>>(static_cast<std::size_t>(arena.attribute));
  }
  static void fill(T at, Counts counts) {
    for (std::uint64_t i = 0; at != nullptr && i < counts[N]; ++i) fill_one(&at[i]);
  }
  static bool filled(T at, TableLoop& loop) { return is_filled(at[0], loop); }
};
template <int N, class T>
struct Word<OutList<N>, T> : Word<OutArr<N>, T> {};
template <int N, int P, class T>
struct Word<OutListOf<N, P>, T> : Word<OutList<N>, T> {};
template <int N, auto kBytesOf, class T>
struct Word<OutSized<N, kBytesOf>, T> : Word<InSized<N, kBytesOf>, T> {
  static void look(Digest&, T, Counts) {}
  static void fill(T at, Counts counts) {
    std::memset(static_cast<void*>(at), 0x5a, kBytesOf(counts[N]));
  }
  static bool filled(T at, TableLoop&) {
    return *static_cast<const unsigned char*>(static_cast<const void*>(at)) == 0x5a;
  }
};
template <int kItems, class T>
struct Word<InFixed<kItems>, T> : WordSilent {
  static constexpr bool kNeedsPointer = true;
  static T make(Arena& arena) {
    T made = arena.room<Pointee<T>>(kItems);
    for (int i = 0; i < kItems; ++i) made[i] = arena.element<Pointee<T>>();
    return made;
  }
  static void look(Digest& digest, T at, Counts) {
    for (int i = 0; i < kItems; ++i) digest.item(at[i]);
  }
};
template <int kItems, class T>
struct Word<OutFixed<kItems>, T> : WordSilent {
  static constexpr bool kNeedsPointer = true;
  static T make(Arena& arena) { return arena.room<Pointee<T>>(kItems); }
  static void fill(T at, Counts) {
    for (int i = 0; i < kItems; ++i) fill_one(&at[i]);
  }
  static bool filled(T at, TableLoop& loop) { return is_filled(at[kItems - 1], loop); }
};

// The integer parameters as the codecs count them.
template <class W, class T>
std::uint64_t count_now(T value) {
  if constexpr (std::is_same_v<W, InOut>) {
    return count_of(*value);
  } else {
    return count_of(value);
  }
}

}  // namespace farcall::api
