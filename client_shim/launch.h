// Launches: what a local driver would refuse at once is refused here; the rest is posted.
//
//   LaunchRequest request{config, function, params, extra, LaunchKind::kPlain};
//   CUresult result = launch(client, request);
//
// Checked against the device and the kernel's facts, so that a wrong launch fails at its own call
// although launches wait for nothing.
// Threads: any.
#pragma once
#include "client_shim/client.h"
#include "transport/api/hand.h"

namespace farcall::shim {

struct LaunchRequest {
  CUlaunchConfig config{};
  CUfunction function = nullptr;
  void** params = nullptr;
  void** extra = nullptr;
  api::hand::LaunchKind kind = api::hand::LaunchKind::kPlain;
};

// Grid and block against the device, block and shared memory against the kernel.
CUresult check_launch(const LaunchLimits& limits, const FunctionFacts& kernel,
                      const CUlaunchConfig& config);

CUresult launch(Client& client, const LaunchRequest& request);

}  // namespace farcall::shim
