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

// What a kernel node of a graph is called with: checked and sent as a launch's is.
class NodeLaunch {
 public:
  // Errors: as a launch's.
  CUresult prepare(Client& client, const LaunchRequest& request);
  // hand::LaunchParams and the bytes.
  void put_arguments(wire::Writer& out) const;

 private:
  FunctionRefs kernel_;
  void** params_ = nullptr;
  bool is_buffer_ = false;
  const void* buffer_ = nullptr;
  std::size_t buffer_bytes_ = 0;
};

}  // namespace farcall::shim
