// Runs kernels on the CPU: 32 lanes at a time, blocks spread over a thread pool.
//
//   Engine engine(memory, {.threads = 4, .output = [](std::string_view text) { … }});
//   Fault fault = engine.run(launch);           // blocks until the grid has finished
//   if (fault.kind != FaultKind::kNone) …       // fault.text names kernel, block, thread, PTX line
//
// Owner: one per device; its Memory outlives it.  Threads: any; several launches may run at once,
// each caller works on its own grid and idle pool threads help.
// It never lets a kernel reach memory outside Memory's ranges, its own shared and local memory and
// its parameters. After a fault the grid's remaining blocks are not run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "gpu_server/software_gpu/exec/image.h"
#include "gpu_server/software_gpu/exec/memory.h"
#include "gpu_server/software_gpu/exec/program.h"

namespace farcall::softgpu {

struct ChildLaunch;

struct Launch {
  const Kernel* kernel = nullptr;
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  std::uint32_t dynamic_shared_bytes = 0;
  std::span<const std::byte> params;  // as Kernel::params() lays them out; borrowed until return
  unsigned cluster[3] = {1, 1, 1};    // blocks of a cluster; the grid is a multiple of it
  bool cooperative = false;           // every block makes progress; grid.sync() works
  const Images* images = nullptr;     // texture and surface objects; borrowed until return
};

enum class FaultKind {
  kNone,
  kIllegalAddress,
  kMisaligned,
  kTrap,
  kIllegalInstruction,
  kLaunchTimeout,  // no thread of a block can ever go on (a barrier nobody else can reach)
  kUnsupported,    // the kernel needs what decode() refuses
  kAssert,
  kInvalidLaunch,  // sizes that no device accepts: 0, > 1024 threads, too few parameter bytes
};

struct Fault {
  FaultKind kind = FaultKind::kNone;
  std::string text;
};

enum class Isa { kBest, kBaseline, kAvx2, kAvx512 };

struct EngineOptions {
  int threads = 0;  // 0: one per CPU of this process; 1: the launching thread alone
  // Receives what kernels printf and assert; called from any thread, one call at a time.
  // Empty: printf goes to stdout, assert to stderr.
  std::function<void(std::string_view)> output;
  Isa isa = Isa::kBest;  // lower than the best only for tests
};

class Engine {
 public:
  Engine(Memory& memory, EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Fault run(const Launch& launch);
  // Whether run() is sure to be over within some µs, whatever the kernel reads. False for a kernel
  // that was not decoded yet.
  bool is_brief(const Launch& launch) const;

  // Blocks of a cluster: what devices of compute capability 9.0 take from kernels that allow more
  // than the 8 that every device takes.
  static constexpr unsigned kClusterBlocksMax = 16;
  // Shared memory one block may ask for (static + dynamic).
  static constexpr std::uint32_t kSharedBytesMax = 228 * 1024 - 1024;

 private:
  // A grid, then the grids it launched, each with its own.
  Fault run_family(const Launch& launch, unsigned depth);
  Fault run_grid(const Launch& launch, unsigned depth, std::vector<ChildLaunch>* children);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace farcall::softgpu
