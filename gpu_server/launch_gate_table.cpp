// The functions that stand in the driver's table in front of launches, and of what ends streams.
#include <type_traits>

#include "gpu_server/launch_gate.h"

namespace farcall::server {
namespace {

CUstream stream_of(CUstream stream) { return stream; }
CUstream stream_of(const CUlaunchConfig* config) {
  return config == nullptr ? nullptr : config->hStream;
}

// The stream among a launch's arguments; the NULL stream for those that name none.
template <class... Arguments>
CUstream stream_among(Arguments... arguments) {
  CUstream stream = nullptr;
  auto look = [&](auto argument) {
    if constexpr (requires { stream_of(argument); } &&
                  (std::is_same_v<decltype(argument), CUstream> ||
                   std::is_same_v<decltype(argument), const CUlaunchConfig*>)) {
      stream = stream_of(argument);
    }
  };
  (look(arguments), ...);
  return stream;
}

template <auto kFunction, class Pointer>
struct Gated;
template <auto kFunction, class... Arguments>
struct Gated<kFunction, CUresult (*)(Arguments...)> {
  static CUresult call(Arguments... arguments) {
    LaunchGate& gate = LaunchGate::get();
    const CUstream stream = stream_among(arguments...);
    const bool has_turn = gate.enter(stream);
    const CUresult done = (gate.real().*kFunction)(arguments...);
    if (has_turn) gate.launched(stream);
    return done;
  }
};

// Streams and events that end with a stream, a context or a device are nobody's to ask any more.
void stand_at_ends(const api::Driver& real, api::Driver& gated) {
  if (real.cuStreamDestroy_v2 != nullptr) {
    gated.cuStreamDestroy_v2 = [](CUstream stream) {
      LaunchGate::get().forget_stream(stream);
      return LaunchGate::get().real().cuStreamDestroy_v2(stream);
    };
  }
  if (real.cuCtxDestroy_v2 != nullptr) {
    gated.cuCtxDestroy_v2 = [](CUcontext context) {
      LaunchGate::get().forget_context(context);
      return LaunchGate::get().real().cuCtxDestroy_v2(context);
    };
  }
  if (real.cuDevicePrimaryCtxRelease_v2 != nullptr) {
    gated.cuDevicePrimaryCtxRelease_v2 = [](CUdevice device) {
      LaunchGate::get().forget_device(device);
      return LaunchGate::get().real().cuDevicePrimaryCtxRelease_v2(device);
    };
  }
  if (real.cuDevicePrimaryCtxReset_v2 != nullptr) {
    gated.cuDevicePrimaryCtxReset_v2 = [](CUdevice device) {
      LaunchGate::get().forget_device(device);
      return LaunchGate::get().real().cuDevicePrimaryCtxReset_v2(device);
    };
  }
  if (real.cuGreenCtxDestroy != nullptr) {
    gated.cuGreenCtxDestroy = [](CUgreenCtx context) {
      LaunchGate::get().forget_all();
      return LaunchGate::get().real().cuGreenCtxDestroy(context);
    };
  }
}

}  // namespace

api::Driver LaunchGate::gated(const api::Driver& real) {
  api::Driver gated = real;
#define GATED(F) \
  if (real.F != nullptr) gated.F = &Gated<&api::Driver::F, decltype(real.F)>::call;
#define UNGATED(F, WHY) static_assert(requires { real.F; });
#include "gpu_server/launch_gate_rows.def"
#undef GATED
#undef UNGATED
  stand_at_ends(real, gated);
  return gated;
}

}  // namespace farcall::server
