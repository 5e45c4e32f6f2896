// Runner: the one thing a device does with a kernel. The software GPU links a runner that
// interprets PTX; the null device (tests/support/null_device) links one that does nothing, so that
// benchmarks see the cost of everything else.
//
//   std::unique_ptr<Runner> runner = make_runner(memory, threads);
//   Fault fault = runner->run(launch);          // blocks until the grid has finished
//   if (runner->effort(launch) != Effort::kLong) …   // the launching thread may do it itself
//
// Owner: one per device; its Memory outlives it.  Threads: any, several runs at once.
#pragma once
#include <memory>

#include "gpu_server/software_gpu/exec/engine.h"
#include "gpu_server/software_gpu/stream.h"

namespace farcall::softgpu {

class Runner {
 public:
  virtual ~Runner() = default;
  virtual Fault run(const Launch& launch) = 0;
  // Known before it runs, whatever the kernel reads: kLong when in doubt. The kernel is decoded.
  virtual Effort effort(const Launch& launch) const = 0;
};

// Exactly one definition is linked into each driver library.
std::unique_ptr<Runner> make_runner(Memory& memory, int threads);

}  // namespace farcall::softgpu
