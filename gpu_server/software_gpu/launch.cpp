#include "gpu_server/software_gpu/launch.h"

#include <algorithm>
#include <cstring>

#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/captures.h"
#include "gpu_server/software_gpu/device.h"
#include "gpu_server/software_gpu/graph_work.h"
#include "transport/base/log.h"

namespace farcall::softgpu {
namespace {

constexpr std::uint64_t kGridMax[3] = {2147483647, 65535, 65535};
constexpr std::uint64_t kBlockMax[3] = {1024, 1024, 64};

CUresult to_curesult(FaultKind kind) {
  switch (kind) {
    case FaultKind::kNone: return CUDA_SUCCESS;
    case FaultKind::kIllegalAddress: return CUDA_ERROR_ILLEGAL_ADDRESS;
    case FaultKind::kMisaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
    case FaultKind::kTrap: return CUDA_ERROR_LAUNCH_FAILED;
    case FaultKind::kIllegalInstruction: return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    case FaultKind::kLaunchTimeout: return CUDA_ERROR_LAUNCH_TIMEOUT;
    case FaultKind::kUnsupported: return CUDA_ERROR_NOT_SUPPORTED;
    case FaultKind::kAssert: return CUDA_ERROR_ASSERT;
    case FaultKind::kInvalidLaunch: return CUDA_ERROR_LAUNCH_FAILED;
  }
  return CUDA_ERROR_UNKNOWN;
}

std::uint64_t threads_of(const LaunchPlan& plan) {
  return std::uint64_t{plan.block[0]} * plan.block[1] * plan.block[2];
}

// The older form: one buffer that already has the kernel's layout.
CUresult gather_buffer(LaunchPlan& plan, void** extra) {
  const void* buffer = nullptr;
  std::size_t bytes = 0;
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      buffer = extra[1];
    } else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) {
      bytes = *static_cast<const std::size_t*>(extra[1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  const std::size_t needed = plan.function->kernel->param_bytes();
  if (bytes < needed || (needed != 0 && buffer == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  plan.params.resize(needed);
  if (needed != 0) std::memcpy(plan.params.data(), buffer, needed);
  return CUDA_SUCCESS;
}

}  // namespace

CUresult gather_params(LaunchPlan& plan, void** kernel_params, void** extra) {
  if (kernel_params != nullptr && extra != nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (extra != nullptr) return gather_buffer(plan, extra);
  const Kernel& kernel = *plan.function->kernel;
  if (kernel_params == nullptr && !kernel.params().empty()) return CUDA_ERROR_INVALID_VALUE;
  plan.params.resize(kernel.param_bytes());
  std::size_t index = 0;
  for (const KernelParam& param : kernel.params()) {
    const void* value = kernel_params[index++];
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(plan.params.data() + param.offset, value, param.size);
  }
  return CUDA_SUCCESS;
}

int resident_blocks(const Function& function, int block_threads, std::size_t dynamic_shared_bytes) {
  if (block_threads < 1 || block_threads > static_cast<int>(function.kernel->max_threads())) {
    return 0;
  }
  int registers = 0;  // asking for them decodes the kernel, which the shared size needs too
  if (function.attribute(CU_FUNC_ATTRIBUTE_NUM_REGS, &registers) != CUDA_SUCCESS) return 0;
  const std::size_t shared = function.kernel->static_shared_bytes() + dynamic_shared_bytes;
  if (shared > static_cast<std::size_t>(kBlockSharedBytesOptIn)) return 0;
  const int warps = (block_threads + kWarpThreads - 1) / kWarpThreads;
  const int by_threads = kSmThreadsMax / (warps * kWarpThreads);
  const int by_registers = kSmRegisters / (registers * warps * kWarpThreads);
  const int by_shared =
      static_cast<int>(static_cast<std::size_t>(kSmSharedBytes) / (shared + kReservedSharedBytes));
  return std::min({by_threads, by_registers, by_shared, kSmBlocksMax});
}

bool is_shape_valid(const LaunchPlan& plan) {
  for (std::size_t i = 0; i < 3; ++i) {
    if (plan.grid[i] == 0 || plan.grid[i] > kGridMax[i]) return false;
    if (plan.block[i] == 0 || plan.block[i] > kBlockMax[i]) return false;
  }
  return threads_of(plan) <= static_cast<std::uint64_t>(kBlockThreadsMax);
}

namespace {

bool is_any(const std::array<unsigned, 3>& cluster) {
  return cluster != std::array<unsigned, 3>{0, 0, 0};
}

// The clusters that a launch runs in: those its function requires, else those it asks for.
std::array<unsigned, 3> cluster_of(const LaunchPlan& plan) {
  const std::array<unsigned, 3> required = plan.function->required_cluster();
  return is_any(required) ? required : plan.cluster;
}

// Whole clusters, no larger than the kernel takes, and of the size its function requires, if any.
bool is_cluster_valid(const LaunchPlan& plan) {
  const Function& function = *plan.function;
  const auto most = function.settings.nonportable_cluster != 0 ? Engine::kClusterBlocksMax : 8u;
  const std::array<unsigned, 3> required = function.required_cluster();
  const std::array<unsigned, 3> cluster = cluster_of(plan);
  std::uint64_t blocks = 1;
  for (std::size_t i = 0; i < 3; ++i) {
    const unsigned wanted = plan.cluster[i], size = cluster[i];
    if (is_any(required) && wanted != 1 && wanted != required[i]) return false;
    if (size == 0 || size > most || plan.grid[i] % size != 0) return false;
    blocks *= size;
  }
  return blocks <= most;
}

}  // namespace

CUresult check_launch(const LaunchPlan& plan) {
  const Function& function = *plan.function;
  if (!is_shape_valid(plan)) return CUDA_ERROR_INVALID_VALUE;
  const std::uint64_t threads = threads_of(plan);
  if (Status decoded = function.kernel->decode(); !decoded.ok()) {
    FARCALL_LOG_DEBUG("launch refused: %s", decoded.to_string().c_str());
    return to_curesult(decoded);
  }
  if (!is_cluster_valid(plan)) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  if (threads > function.kernel->max_threads()) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  const int shared_max = function.dynamic_shared_max();
  if (plan.dynamic_shared_bytes > static_cast<unsigned>(shared_max)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (plan.cooperative) {
    const auto resident = static_cast<std::uint64_t>(
        resident_blocks(function, static_cast<int>(threads), plan.dynamic_shared_bytes));
    const auto processors =
        static_cast<std::uint64_t>(function.module->context().device().processors());
    const std::uint64_t most = resident * processors;
    const std::uint64_t blocks = std::uint64_t{plan.grid[0]} * plan.grid[1];
    if (blocks > most || blocks * plan.grid[2] > most) {
      return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
  }
  return CUDA_SUCCESS;
}

namespace {

// Borrows from the plan.
Launch launch_of(const LaunchPlan& plan) {
  Launch launch;
  launch.kernel = plan.function->kernel;
  std::copy(plan.grid.begin(), plan.grid.end(), launch.grid);
  std::copy(plan.block.begin(), plan.block.end(), launch.block);
  launch.dynamic_shared_bytes = plan.dynamic_shared_bytes;
  launch.params = plan.params;
  std::copy(plan.cluster.begin(), plan.cluster.end(), launch.cluster);
  launch.cooperative = plan.cooperative;
  launch.images = &plan.function->module->context().device().images();
  return launch;
}

Effort effort_of(const LaunchPlan& plan) {
  return plan.function->module->context().device().runner().effort(launch_of(plan));
}

}  // namespace

Work launch_work(LaunchPlan plan) {
  // Shared, because a graph copies its work about and std::function copies what it holds.
  plan.cluster = cluster_of(plan);  // as it is now: a later change is for later launches
  auto held = std::make_shared<const LaunchPlan>(std::move(plan));
  return {[held] {
    Context& context = held->function->module->context();
    const Fault fault = context.device().runner().run(launch_of(*held));
    if (fault.kind == FaultKind::kNone) return;
    FARCALL_LOG_DEBUG("kernel fault: %s", fault.text.c_str());
    context.poison(to_curesult(fault.kind));
  }};
}

CUresult launch(LaunchPlan plan, Stream& stream) {
  if (CUresult no = forbid_legacy(stream)) return no;
  if (CUresult failed = check_launch(plan)) return failed;
  const Effort effort = effort_of(plan);
  if (effort == Effort::kNone && !capturing(stream) && stream.context().idle(stream)) {
    return CUDA_SUCCESS;
  }
  if (capturing(stream))
    return queue(stream, captured_work(std::move(plan)), CU_GRAPH_NODE_TYPE_KERNEL);
  Work work = launch_work(std::move(plan));
  work.effort = effort;
  return queue(stream, std::move(work), CU_GRAPH_NODE_TYPE_KERNEL);
}

}  // namespace farcall::softgpu
