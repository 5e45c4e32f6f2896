// LaunchPlan: what a launch must check and send of a kernel, remembered by the thread that launches
// it, so that launching it again takes no lock and looks nothing up.
//
//   LaunchPlan& plan = plans->slot(function);               // the thread's own
//   if (!plan.holds(function, context, versions)) …make it anew…
//
// A plan holds while nothing was changed about any kernel or context of the session: two counters
// tell. A kernel that is unloaded while a launch of it is under way stays known to that launch.
// Owner: a ThreadState.  Threads: its own only.
#pragma once
#include <array>
#include <cstdint>

#include "client_shim/functions.h"
#include "client_shim/snapshot.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

// What the launches of a device are checked against.
struct LaunchLimits {
  std::array<unsigned, 3> grid;
  std::array<unsigned, 3> block;
  std::uint64_t threads;  // per block
};
LaunchLimits launch_limits(const Device& device);

// Counters that change when what they count has changed.
struct LaunchVersions {
  std::uint64_t functions = 0;
  std::uint64_t contexts = 0;
  bool operator==(const LaunchVersions&) const = default;
};

struct LaunchPlan {
  CUfunction function = nullptr;
  CUcontext context = nullptr;
  LaunchVersions versions;
  LaunchLimits limits{};
  FunctionRefs kernel;

  bool holds(CUfunction f, CUcontext current, const LaunchVersions& now) const {
    return function == f && context == current && versions == now && f != nullptr;
  }
};

class LaunchPlans {
 public:
  // Where the plan of `function` is, or would be.
  LaunchPlan& slot(CUfunction function) {
    // Ids are random in all but their lowest bits or count up: both spread.
    auto id = reinterpret_cast<std::uintptr_t>(function);
    return plans_[(id ^ (id >> 32)) % plans_.size()];
  }

 private:
  std::array<LaunchPlan, 256> plans_;
};

}  // namespace farcall::shim
