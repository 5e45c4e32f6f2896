// A device that accepts every launch and does nothing: the software GPU without its interpreter, so
// that a benchmark sees the cost of everything but the kernels.
#include "gpu_server/software_gpu/runner.h"

namespace farcall::softgpu {
namespace {

class NullRunner final : public Runner {
 public:
  Fault run(const Launch&) override { return {}; }
  Effort effort(const Launch&) const override { return Effort::kNone; }
};

}  // namespace

std::unique_ptr<Runner> make_runner(Memory&, int) { return std::make_unique<NullRunner>(); }

}  // namespace farcall::softgpu
