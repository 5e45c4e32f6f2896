// Routed: what an exported function does first: find out which server the call is for.
//
//   FARCALL_STUB(cuMemFree_v2, 1, (Routed<&::cuMemFree_v2, &inner>::call))
//
// With one server that is a load and a jump. With several, what the call names decides: a handle
// belongs to the server that its bits name, a device pointer to the one whose memory it is in, a
// device number to whoever has that device, and structures are looked into (structure_hints.h); a
// call that names none of them is for the server of the current context. Kernels follow: launched
// where they are not loaded yet, they are loaded there (libraries.h). A call that names things of
// two servers is answered by Crossing, which knows the few that can be done; for the others the
// answer is the one that CUDA gives between devices that cannot reach each other. Functions that
// concern all servers are in several.h. A call made inside another one goes where that one went.
// Then, whether a capture under way forbids it (captures.h).
// Threads: any.
#pragma once
#include <array>
#include <type_traits>

#include "client_shim/captures.h"
#include "client_shim/entry.h"
#include "client_shim/fleet.h"
#include "client_shim/structure_hints.h"
#include "transport/api/words.h"

namespace farcall::shim {

struct Route {
  Client* client = nullptr;
  bool is_crossing = false;  // things of two servers are named
  // Otherwise the call cannot be made. Of a crossing: what CUDA answers where one device cannot
  // reach what is another's.
  CUresult result = CUDA_SUCCESS;
};
// The route of a call that gives these hints. Kernels among them become those of that server.
Route find_route(Fleet& fleet, std::span<Hints> hints);
// Says in the log that `name` cannot be done between two servers.
CUresult refuse_crossing(const char* name, CUresult result);

// Of a CUkernel parameter that has no device beside it: it means the kernel of the current context.
template <auto kFunction>
inline constexpr bool kFollowsContext = false;
template <>
inline constexpr bool kFollowsContext<&::cuKernelGetFunction> = true;

// Functions that concern all servers: several.h specialises it with
//   static CUresult call(Fleet&, A...)
template <auto kFunction, auto kInner>
struct Several {
  using None = void;
};
// Calls that can be done although they name things of two servers:
//   static CUresult call(Fleet&, A...)
template <auto kFunction>
struct Crossing {
  using None = void;
};

template <class T>
Hints hints_of(const T& argument, bool is_device, bool is_kernel) {
  if (is_device) {
    if constexpr (std::is_same_v<T, CUdevice>)
      return {Hint{Clue::kDevice, static_cast<std::uint64_t>(argument)}};
  }
  if constexpr (std::is_same_v<T, CUfunction>) {
    return {Hint{Clue::kKernel, id_of(argument)}};
  } else if constexpr (std::is_same_v<T, CUkernel>) {
    return {Hint{is_kernel ? Clue::kKernel : Clue::kHandle, id_of(argument)}};
  } else if constexpr (api::Handle<T>) {
    return {Hint{Clue::kHandle, id_of(argument)}};
  } else if constexpr (std::is_same_v<T, CUdeviceptr>) {
    return {Hint{Clue::kAddress, argument}};
  } else if constexpr (requires { structure_hints(argument); }) {
    return structure_hints(argument);
  } else {
    return {};
  }
}

template <auto kFunction>
inline constexpr CaptureRule kCaptureRule = CaptureRule::kNone;
#define CAPTURE_RULE(F, RULE) \
  template <>                 \
  inline constexpr CaptureRule kCaptureRule<&::F> = CaptureRule::RULE;
#include "client_shim/capture_rules.def"

template <class T>
void note_subject(CaptureSubject& subject, const T& argument) {
  if constexpr (std::is_same_v<T, CUstream>) {
    subject.has_stream = true;
    subject.stream = argument;
  } else if constexpr (std::is_same_v<T, CUevent>) {
    subject.event = argument;
  } else if constexpr (std::is_same_v<T, const CUlaunchConfig*>) {
    subject.has_stream = argument != nullptr;
    if (argument != nullptr) subject.stream = argument->hStream;
  }
}

template <class T>
T take_kernel(T argument, const Hint& hint) {
  if constexpr (std::is_same_v<T, CUfunction> || std::is_same_v<T, CUkernel>) {
    return handle_of<T>(hint.value);
  } else {
    return argument;
  }
}

// kDevice: which parameter is a device number, or -1.
template <auto kFunction, auto kInner, int kDevice = -1>
struct Routed;
template <auto kFunction, class... A, CUresult (*kInner)(A...), int kDevice>
struct Routed<kFunction, kInner, kDevice> {
  static CUresult call(A... arguments) {
    if (!has_several_servers()) [[likely]]
      return judged(arguments...);
    return routed(arguments...);
  }

 private:
  static CUresult judged(A... arguments) {
    constexpr CaptureRule kRule = kCaptureRule<kFunction>;
    if constexpr (kRule != CaptureRule::kNone) {
      Client* client = current_client();
      if (client != nullptr && client->captures().any()) [[unlikely]] {
        CaptureSubject subject;
        (note_subject<A>(subject, arguments), ...);
        subject.has_stream |= kRule == CaptureRule::kSynchronous;  // the NULL stream
        const bool may_matter = kRule != CaptureRule::kStreamed || subject.is_legacy();
        const CUresult no = may_matter ? judge_in_capture(kRule, subject) : CUDA_SUCCESS;
        if (no != CUDA_SUCCESS) return no;
      }
    }
    return kInner(arguments...);
  }
  // Apart from call(), so that there the arguments stay where they are.
  [[gnu::noinline]] static CUresult routed(A... arguments) {
    return among_several(std::index_sequence_for<A...>(), arguments...);
  }
  template <std::size_t... I>
  static CUresult among_several(std::index_sequence<I...>, A... arguments) {
    Fleet* fleet = current_fleet();
    if (fleet == nullptr || fleet->thread().serves != nullptr) return judged(arguments...);
    try {
      if constexpr (!requires { typename Several<kFunction, kInner>::None; }) {
        return Several<kFunction, kInner>::call(*fleet, arguments...);
      } else {
        constexpr bool kIsKernel = kDevice >= 0 || kFollowsContext<kFunction>;
        std::array<Hints, sizeof...(A) + 1> hints{
            hints_of<A>(arguments, static_cast<int>(I) == kDevice, kIsKernel)...};
        Route route = find_route(*fleet, hints);
        if (route.is_crossing) return crossing(*fleet, route, arguments...);
        if (route.result != CUDA_SUCCESS) return route.result;
        Serving serving(*fleet, *route.client);
        return judged(take_kernel(arguments, hints[I].front())...);
      }
    } catch (const std::exception&) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
  }
  static CUresult crossing(Fleet& fleet, const Route& route, A... arguments) {
    if constexpr (!requires { typename Crossing<kFunction>::None; }) {
      return Crossing<kFunction>::call(fleet, arguments...);
    } else {
      return route.result;
    }
  }
};

}  // namespace farcall::shim
