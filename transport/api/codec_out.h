// The words whose bytes go from the driver to the caller; see codec_in.h for the steps.
//
// The client never asks for "no storage" where the word says the pointer must not be null, so the
// server never sees such a request. Outputs are stored only when the call has succeeded.
#pragma once
#include <algorithm>

#include "transport/api/caller.h"
#include "transport/api/codec_in.h"

namespace farcall::api {

// May the server hold and send `count` elements of type E as one answer?
template <class E>
CUresult check_answer(std::uint64_t count) {
  if (CUresult bad = check_items(count); bad != CUDA_SUCCESS) return bad;
  constexpr std::size_t kWireBytes = Handle<E> ? sizeof(std::uint64_t) : sizeof(E);
  return count <= limits::kAnswerBytesMax / kWireBytes ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

// --- Out: one T
// --------------------------------------------------------------------------------------
template <class T>
struct Ask<Out, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) const {
    return value != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  void take(wire::Reader& in, Counts) const { *value = take_item<Pointee<T>>(in); }
};
template <class T>
struct Serve<Out, T> : ServeSilent {
  Pointee<T> own{};
  T pass() { return &own; }
  void answer(Answer& answer, Counts) const { answer_item(answer, own); }
};

// --- OutDevice: Out, renumbered by the client
// ---------------------------------------------------------------
template <>
struct Ask<OutDevice, CUdevice*> : Ask<Out, CUdevice*> {
  using Ask<Out, CUdevice*>::Ask;
  void take(wire::Reader& in, Counts) const { *value = program_device(in.get<CUdevice>()); }
};
template <>
struct Serve<OutDevice, CUdevice*> : Serve<Out, CUdevice*> {};

// --- OutOf: a handle that belongs to another
// ----------------------------------------------------------
template <int N, class T>
struct Ask<OutOf<N>, T> : Ask<Out, T> {
  using Ask<Out, T>::Ask;
};
template <int N, class T>
struct Serve<OutOf<N>, T> : ServeSilent {
  static constexpr int kParent = N;
  Pointee<T> own{};
  std::uint64_t parent = 0;  // the id in parameter N; set between load and answer
  T pass() { return &own; }
  void answer(Answer& answer, Counts) const { answer_item(answer, own, parent); }
};

// --- OutOpt: one T, or the caller does not want it
// ------------------------------------------------------
template <class T>
struct Ask<OutOpt, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  void ask(wire::Writer& out, Counts) const {
    out.put(static_cast<std::uint8_t>(value != nullptr));
  }
  void take(wire::Reader& in, Counts) const {
    if (value != nullptr) *value = take_item<Pointee<T>>(in);
  }
};
template <class T>
struct Serve<OutOpt, T> : ServeSilent {
  bool wanted = false;
  Pointee<T> own{};
  void load(Load& load) {
    auto flag = load.in.get<std::uint8_t>();
    if (flag > 1) load.in.fail();
    wanted = flag == 1;
  }
  T pass() { return wanted ? &own : nullptr; }
  void answer(Answer& answer, Counts) const {
    if (wanted) answer_item(answer, own);
  }
};

// --- InOut: one T, read and written
// ------------------------------------------------------------------------
template <class T>
struct Ask<InOut, T> : Ask<Out, T> {
  using Ask<Out, T>::Ask;
  void ask(wire::Writer& out, Counts) const { put_item(out, *this->value); }
  std::uint64_t count() const { return this->value != nullptr ? count_of(*this->value) : 0; }
};
template <class T>
struct Serve<InOut, T> : ServeSilent {
  Pointee<T> own{};
  // Before bind, because other words look up their room in it.
  void load(Load& load) {
    Serve<In, Pointee<T>> in;
    in.load(load);
    own = in.pass();
  }
  T pass() { return &own; }
  void answer(Answer& answer, Counts) const { answer_item(answer, own); }
  std::uint64_t count() const { return count_of(own); }
};

// --- New: a handle whose id the client mints
// ----------------------------------------------------------------
template <class T>
struct Ask<New, T> : AskSilent {
  T value;
  std::uint64_t id = 0;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    id = mint_id();
    return CUDA_SUCCESS;
  }
  void ask(wire::Writer& out, Counts) const { out.put(id); }
  void commit() const { *value = reinterpret_cast<Pointee<T>>(static_cast<std::uintptr_t>(id)); }
};
template <class T>
struct Serve<New, T> : ServeSilent {
  std::uint64_t own_id = 0;
  Pointee<T> own{};
  void load(Load& load) {
    own_id = load.in.get<std::uint64_t>();
    if (!is_client_id(own_id) || load.handles.is_taken(own_id)) load.in.fail();
  }
  T pass() { return &own; }
  void answer(Answer& answer, Counts) const {
    if (!answer.handles.adopt(kKindOf<Pointee<T>>, own_id, own)) answer.full = true;
  }
};

// --- OutName: a string the client keeps
// ------------------------------------------------------------------------
template <>
struct Ask<OutName, const char**> : AskSilent {
  const char** value;
  explicit Ask(const char** from) : value(from) {}
  CUresult check(Counts) const {
    return value != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  void take(wire::Reader& in, Counts) const {
    auto text = in.bytes(in.get<std::uint32_t>());
    const char* kept = in.failed() ? nullptr : keep_name(text);
    if (kept == nullptr) return in.fail();
    *value = kept;
  }
};
template <>
struct Serve<OutName, const char**> : ServeSilent {
  const char* own = nullptr;
  const char** pass() { return &own; }
  void answer(Answer& answer, Counts) const {
    std::size_t bytes = own != nullptr ? strnlen(own, limits::kStringBytesMax) : 0;
    answer.out.put(static_cast<std::uint32_t>(bytes));
    if (bytes != 0) answer.out.bytes(own, bytes);
  }
};

// --- OutDeep: one T with handles inside
// -----------------------------------------------------------
template <class T>
struct Ask<OutDeep, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) const {
    return value != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  void take(wire::Reader& in, Counts) const { DeepAnswer<Pointee<T>>::take(in, *value); }
};
template <class T>
struct Serve<OutDeep, T> : ServeSilent {
  Pointee<T> own{};
  T pass() { return &own; }
  void answer(Answer& answer, Counts) const { DeepAnswer<Pointee<T>>::answer(answer, own); }
};

// --- OutArr: as many elements as the count says
// ------------------------------------------------------------------
template <int N, class T>
struct Ask<OutArr<N>, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts counts) const {
    return value == nullptr ? CUDA_SUCCESS : check_answer<Pointee<T>>(counts[N]);
  }
  void ask(wire::Writer& out, Counts) const {
    out.put(static_cast<std::uint8_t>(value != nullptr));
  }
  void take(wire::Reader& in, Counts counts) const {
    if (value == nullptr) return;
    for (std::uint64_t i = 0; i < counts[N] && !in.failed(); ++i) {
      value[i] = take_item<Pointee<T>>(in);
    }
  }
};
template <class T, int N>
struct ServeRoom : ServeSilent {
  bool wanted = false;
  Pointee<T>* own = nullptr;
  std::uint64_t room = 0;
  void load(Load& load) {
    auto flag = load.in.get<std::uint8_t>();
    if (flag > 1) load.in.fail();
    wanted = flag == 1;
  }
  void bind(Load& load, Counts counts) {
    if (!wanted) return;
    room = counts[N];
    CUresult bad = check_answer<Pointee<T>>(room);
    if (bad == CUDA_SUCCESS) own = load.scratch.array<Pointee<T>>(room);
    if (bad == CUDA_SUCCESS && own == nullptr) bad = CUDA_ERROR_NOT_SUPPORTED;
    if (bad != CUDA_SUCCESS) load.refuse(bad);
  }
  T pass() { return own; }
};
template <int N, class T>
struct Serve<OutArr<N>, T> : ServeRoom<T, N> {
  void answer(Answer& answer, Counts) const {
    if (!this->wanted) return;
    for (std::uint64_t i = 0; i < this->room; ++i) answer_item(answer, this->own[i]);
  }
};

// --- OutList: room in parameter N before the call, count in it after
// ------------------------------------------------
template <int N, class T>
struct Ask<OutList<N>, T> : Ask<OutArr<N>, T> {
  using Ask<OutArr<N>, T>::Ask;
  void take(wire::Reader& in, Counts counts) const {
    if (this->value == nullptr) return;
    auto items = in.get<std::uint32_t>();
    if (items > counts[N]) return in.fail();
    for (std::uint32_t i = 0; i < items && !in.failed(); ++i) {
      this->value[i] = take_item<Pointee<T>>(in);
    }
  }
  // The caller reads as many as it is told of.
  void agree(wire::Reader& in, Counts counts, Counts after) const {
    if (this->value != nullptr && after[N] > counts[N]) in.fail();
  }
};
template <int N, class T>
struct Serve<OutList<N>, T> : ServeRoom<T, N> {
  void answer(Answer& answer, Counts after) const {
    if (!this->wanted) return;
    auto items = static_cast<std::uint32_t>(std::min(this->room, after[N]));
    answer.out.put(items);
    for (std::uint32_t i = 0; i < items; ++i) answer_item(answer, this->own[i]);
  }
};

// --- OutFixed: a number of elements that CUDA fixes
// ------------------------------------------------------------
template <int kItems, class T>
struct Ask<OutFixed<kItems>, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts) const {
    return value != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  void take(wire::Reader& in, Counts) const {
    for (int i = 0; i < kItems && !in.failed(); ++i) value[i] = take_item<Pointee<T>>(in);
  }
};
template <int kItems, class T>
struct Serve<OutFixed<kItems>, T> : ServeSilent {
  Pointee<T> own[kItems] = {};
  T pass() { return own; }
  void answer(Answer& answer, Counts) const {
    for (const auto& item : own) answer_item(answer, item);
  }
};

// --- OutListOf: the same, of objects that belong to another
// ------------------------------------------------
template <int N, int P, class T>
struct Ask<OutListOf<N, P>, T> : Ask<OutList<N>, T> {
  using Ask<OutList<N>, T>::Ask;
};
template <int N, int P, class T>
struct Serve<OutListOf<N, P>, T> : ServeRoom<T, N> {
  static constexpr int kParent = P;
  std::uint64_t parent = 0;
  void answer(Answer& answer, Counts after) const {
    if (!this->wanted) return;
    auto items = static_cast<std::uint32_t>(std::min(this->room, after[N]));
    const std::uint64_t owner = answer.handles.graph_of(parent);
    answer.out.put(items);
    for (std::uint32_t i = 0; i < items; ++i) answer_item(answer, this->own[i], owner);
  }
};

// --- OutSized: a value whose size an attribute decides
// ----------------------------------------------------------------
template <int N, auto kBytesOf, class T>
struct Ask<OutSized<N, kBytesOf>, T> : AskSilent {
  T value;
  explicit Ask(T from) : value(from) {}
  CUresult check(Counts counts) const {
    return value == nullptr || kBytesOf(counts[N]) == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  }
  void take(wire::Reader& in, Counts counts) const {
    auto bytes = in.bytes(kBytesOf(counts[N]));
    if (!bytes.empty()) std::memcpy(value, bytes.data(), bytes.size());
  }
};
template <int N, auto kBytesOf, class T>
struct Serve<OutSized<N, kBytesOf>, T> : ServeSilent {
  void* own = nullptr;
  std::size_t bytes = 0;
  void bind(Load& load, Counts counts) {
    bytes = kBytesOf(counts[N]);
    own = bytes != 0 ? load.scratch.take(bytes) : nullptr;
    if (own == nullptr) load.in.fail();
  }
  T pass() { return static_cast<T>(own); }
  void answer(Answer& answer, Counts) const { answer.out.bytes(own, bytes); }
};

}  // namespace farcall::api
