#include "gpu_server/software_gpu/runner.h"

namespace farcall::softgpu {
namespace {

class Interpreter final : public Runner {
 public:
  Interpreter(Memory& memory, int threads) : engine_(memory, EngineOptions{threads, {}, {}}) {}
  Fault run(const Launch& launch) override { return engine_.run(launch); }
  Effort effort(const Launch& launch) const override {
    return engine_.is_brief(launch) ? Effort::kBrief : Effort::kLong;
  }

 private:
  Engine engine_;
};

}  // namespace

std::unique_ptr<Runner> make_runner(Memory& memory, int threads) {
  return std::make_unique<Interpreter>(memory, threads);
}

}  // namespace farcall::softgpu
