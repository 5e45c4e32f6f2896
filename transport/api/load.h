// Load and Answer: what a server-side codec works with, and how one item crosses.
//
//   auto stream = load_item<CUstream>(load);      // id → driver object, checked
//   answer_item(answer, *function, parent);       // driver object → id
//
// Two kinds of wrong are kept apart. Bytes that no correct client sends make the reader fail, and
// the session ends. A handle that is unknown is an ordinary mistake of a program: it sets
// Load::refused, the driver is not called, and the client gets that status.
// Threads: one.
#pragma once
#include "transport/api/device_numbers.h"
#include "transport/api/handles.h"
#include "transport/api/scratch.h"
#include "transport/api/words.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::api {

// The integer parameters of a call by index, pointers to counts included: where codecs look up `N`.
using Counts = const std::uint64_t*;

struct Load {
  wire::Reader& in;
  Handles& handles;
  Scratch& scratch;
  CUresult refused = CUDA_SUCCESS;  // the first reason not to call the driver

  void refuse(CUresult why) {
    if (refused == CUDA_SUCCESS) refused = why;
  }
  // Reads an id and finds its object. Null for id 0, and with `refused` set when there is none.
  // A function parameter accepts a kernel, as CUDA does; stream ids 1 and 2 are CUDA's own.
  void* object(Kind kind, std::uint64_t* id_out = nullptr);
};

struct Answer {
  Answer(wire::Writer& to, Handles& known) : out(to), handles(known) {}
  wire::Writer& out;
  Handles& handles;
  bool full = false;  // a handle could not be named

  void object(Kind kind, void* real, std::uint64_t parent);
  // The id of `real` as the pointer the client will hold; null for null.
  template <class T>
  T name(T real, std::uint64_t parent = 0) {
    auto id = static_cast<std::uintptr_t>(id_of(kKindOf<T>, real, parent));
    return reinterpret_cast<T>(id);
  }

 private:
  std::uint64_t id_of(Kind kind, void* real, std::uint64_t parent);
};

// The status for an id that is no handle of this kind, as a local driver would give it.
CUresult bad_handle(Kind kind);

// --- server ---
template <class T>
T load_item(Load& load) {
  if constexpr (Handle<T>) {
    static_assert(kKindOf<T> != Kind::kNone, "give this handle a Kind in handles.h");
    return static_cast<T>(load.object(kKindOf<T>));
  } else {
    return load.in.get<T>();
  }
}
template <class T>
void answer_item(Answer& answer, const T& value, std::uint64_t parent = 0) {
  if constexpr (Handle<T>) {
    static_assert(kKindOf<T> != Kind::kNone, "give this handle a Kind in handles.h");
    answer.object(kKindOf<T>, value, parent);
  } else {
    answer.out.put(value);
  }
}

// --- client ---
template <class T>
void put_item(wire::Writer& out, const T& value) {
  if constexpr (Handle<T>) {
    out.put(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(value)));
  } else if constexpr (NamesDevice<T>) {
    T sent = value;
    renumber(sent, server_device);
    out.put(sent);
  } else {
    out.put(value);
  }
}
template <class T>
T take_item(wire::Reader& in) {
  if constexpr (Handle<T>) {
    return reinterpret_cast<T>(static_cast<std::uintptr_t>(in.get<std::uint64_t>()));
  } else if constexpr (NamesDevice<T>) {
    T taken = in.get<T>();
    renumber(taken, program_device);
    return taken;
  } else {
    return in.get<T>();
  }
}

}  // namespace farcall::api
