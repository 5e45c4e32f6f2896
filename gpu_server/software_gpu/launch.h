// Launching a kernel: everything CUDA checks before, and what it reports after.
//
//   LaunchPlan plan; plan.function = …; plan.grid = …;
//   return launch(std::move(plan), stream);
//
// Threads: any.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/module.h"
#include "gpu_server/software_gpu/stream.h"

namespace farcall::softgpu {

struct LaunchPlan {
  std::shared_ptr<Function> function;
  CUfunction handle = nullptr;  // as the program named it: a function, or a kernel
  std::array<unsigned, 3> grid{1, 1, 1};
  std::array<unsigned, 3> block{1, 1, 1};
  unsigned dynamic_shared_bytes = 0;
  std::vector<std::byte> params;             // laid out as the kernel declares them
  std::array<unsigned, 3> cluster{1, 1, 1};  // as the launch asks; the function may require others
  bool cooperative = false;
};

// Fills plan.params from one of the two forms CUDA knows.
// Errors: CUDA_ERROR_INVALID_VALUE when both or none of what the kernel needs is given.
CUresult gather_params(LaunchPlan& plan, void** kernel_params, void** extra);

// False for a grid or block that no device accepts.
bool is_shape_valid(const LaunchPlan& plan);

// Errors: CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
// CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, CUDA_ERROR_INVALID_CLUSTER_SIZE; what decoding the
// kernel met.
CUresult check_launch(const LaunchPlan& plan);

// Checks and queues. A fault of the kernel poisons the stream's context.
CUresult launch(LaunchPlan plan, Stream& stream);
// What a stream does with a checked plan.
Work launch_work(LaunchPlan plan);

// Blocks of this shape that fit one multiprocessor at a time.
int resident_blocks(const Function& function, int block_threads, std::size_t dynamic_shared_bytes);

}  // namespace farcall::softgpu
