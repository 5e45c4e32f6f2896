// run_row<Row>: the server half of a call, made from its row. See dispatch.h for how it is reached.
//
// In order: read everything, check that nothing is left over, check lengths against each other,
// refuse unknown handles, and only then call the driver; then write the status and the answers.
// A request that fails a check of bytes never reaches the driver.
#pragma once
#include <string_view>

#include "transport/api/codec_out.h"
#include "transport/api/dispatch.h"
#include "transport/api/rows.h"

namespace farcall::api {

// The parts of a call that know no types, kept out of the templates.
Verdict answer_status(ServerCall& call, CUresult status);
Verdict finish_answer(ServerCall& call, const Answer& answer);

template <class S>
void set_parent(S& serve, const std::uint64_t* ids) {
  if constexpr (S::kParent >= 0) serve.parent = ids[S::kParent];
  static_cast<void>(serve);
  static_cast<void>(ids);
}

template <class... A, class... S>
Verdict run_serves(ServerCall& call, CUresult (*function)(A...), S... serves) {
  Load load{call.in, call.handles, call.scratch};
  (serves.load(load), ...);
  if (!call.in.done()) return Verdict::kMalformed;
  [[maybe_unused]] const std::uint64_t counts[] = {serves.count()..., 0};
  (serves.bind(load, counts), ...);
  if (call.in.failed()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return answer_status(call, load.refused);
  if (function == nullptr) return answer_status(call, CUDA_ERROR_NOT_SUPPORTED);

  CUresult status = function(serves.pass()...);
  if (status != CUDA_SUCCESS) return answer_status(call, status);
  (serves.done(call.handles), ...);
  [[maybe_unused]] const std::uint64_t after[] = {serves.count()..., 0};
  [[maybe_unused]] const std::uint64_t ids[] = {serves.id()..., 0};
  (set_parent(serves, ids), ...);
  call.out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
  Answer answer(call.out, call.handles);
  (serves.answer(answer, after), ...);
  return finish_answer(call, answer);
}

template <class... W, class... A>
Verdict run_words(ServerCall& call, Words<W...>, CUresult (*function)(A...)) {
  return run_serves<A...>(call, function, Serve<W, A>()...);
}

// --- the fingerprint of one row
// ------------------------------------------------------------------------

// FNV-1a: enough to tell two builds apart by mistake; nothing rests on it against an enemy.
constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) {
    hash = (hash ^ ((value >> shift) & 0xff)) * 0x100000001b3u;
  }
  return hash;
}
constexpr std::uint64_t mix(std::uint64_t hash, std::string_view text) {
  for (char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
  return mix(hash, text.size());
}
inline constexpr std::uint64_t kFingerprintStart = 0xcbf29ce484222325u;

// What a parameter puts on the wire: how many bytes an item has, 8 for a handle.
template <class T>
constexpr std::uint64_t wire_bytes() {
  if constexpr (Handle<T>) {
    return 8;
  } else if constexpr (std::is_pointer_v<T>) {
    if constexpr (std::is_void_v<Pointee<T>> || std::is_function_v<Pointee<T>>) {
      return 1;
    } else if constexpr (Handle<Pointee<T>>) {
      return 8;
    } else {
      return sizeof(Pointee<T>);
    }
  } else {
    return sizeof(T);
  }
}

template <class... W, class... A>
constexpr std::uint64_t row_fingerprint(Words<W...>, CUresult (*)(A...), std::uint16_t id,
                                        When when, std::string_view name) {
  static_assert(WordsFit<CUresult(A...), Words<W...>>::check(),
                "the words of this row do not fit its prototype in cuda.h");
  std::uint64_t hash = mix(mix(kFingerprintStart, name), id * 256u + static_cast<unsigned>(when));
  ((hash = mix(mix(hash, static_cast<std::uint64_t>(W::kTag)), wire_bytes<A>())), ...);
  return hash;
}

}  // namespace farcall::api
