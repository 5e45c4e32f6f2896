// What a kernel reports about itself, and what a program may set on it.
#include <algorithm>

#include "gpu_server/software_gpu/device.h"
#include "gpu_server/software_gpu/module.h"

namespace farcall::softgpu {
namespace {

// PTX registers are virtual; a real compiler would fit any kernel that may run 1024 threads into
// 64 of them, so the report stays where occupancy is not made up.
constexpr int kRegistersReportedMax = kSmRegisters / kBlockThreadsMax;
constexpr int kRegistersReportedMin = 16;

int reported_registers(const Kernel& kernel) {
  return std::clamp(static_cast<int>(kernel.registers()), kRegistersReportedMin,
                    kRegistersReportedMax);
}

bool was_compiled_for_clusters(const Kernel& kernel) {
  const auto& blocks = kernel.required_cluster();
  return blocks[0] != 0 || blocks[1] != 0 || blocks[2] != 0;
}

}  // namespace

CUresult KernelSettings::set(CUfunction_attribute which, int value, const Kernel& kernel) {
  switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: {
      // A kernel that cannot be decoded is refused by its launch, which can say why.
      (void)kernel.decode().ok();
      const int fixed = static_cast<int>(kernel.static_shared_bytes());
      if (value < 0 || value > kBlockSharedBytesOptIn - fixed) return CUDA_ERROR_INVALID_VALUE;
      dynamic_shared_max = value;
      return CUDA_SUCCESS;
    }
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      if (value < -1 || value > 100) return CUDA_ERROR_INVALID_VALUE;
      carveout = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      if (value < 0) return CUDA_ERROR_INVALID_VALUE;
      // "If the value is set during compile time, it cannot be set at runtime" (cuda.h).
      if (was_compiled_for_clusters(kernel)) return CUDA_ERROR_NOT_PERMITTED;
      cluster[static_cast<std::size_t>(which - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH)] = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      nonportable_cluster = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      cluster_policy = value;
      return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

void KernelSettings::copy_from(const KernelSettings& other) {
  dynamic_shared_max = other.dynamic_shared_max.load();
  carveout = other.carveout.load();
  cluster_policy = other.cluster_policy.load();
  nonportable_cluster = other.nonportable_cluster.load();
  for (std::size_t i = 0; i < cluster.size(); ++i) cluster[i] = other.cluster[i].load();
}

int Function::dynamic_shared_max() const {
  const int set = settings.dynamic_shared_max;
  if (set != KernelSettings::kUnset) return set;
  return std::max(0, kBlockSharedBytes - static_cast<int>(kernel->static_shared_bytes()));
}

std::array<unsigned, 3> Function::required_cluster() const {
  std::array<unsigned, 3> blocks{};
  const bool is_compiled_in = was_compiled_for_clusters(*kernel);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    blocks[i] = is_compiled_in ? kernel->required_cluster()[i]
                               : static_cast<unsigned>(settings.cluster[i].load());
  }
  return blocks;
}

CUresult Function::attribute(CUfunction_attribute which, int* value) const {
  if (Status decoded = kernel->decode(); !decoded.ok()) return to_curesult(decoded);
  const Device& device = module->context().device();
  const int version = device.config().cc_major * 10 + device.config().cc_minor;
  switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = static_cast<int>(kernel->max_threads());
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(kernel->static_shared_bytes());
      break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      *value = static_cast<int>(kernel->const_bytes());
      break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = static_cast<int>(kernel->local_bytes());
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = reported_registers(*kernel); break;
    // Libraries choose what to launch by what was compiled, not by the device.
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = static_cast<int>(kernel->target()); break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = version; break;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: *value = 0; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = dynamic_shared_max(); break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *value = settings.carveout; break;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
      *value = kernel->is_explicit_cluster() ? 1 : 0;
      break;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH: {
      const auto at = static_cast<std::size_t>(which - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH);
      *value = static_cast<int>(required_cluster()[at]);
      break;
    }
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      *value = settings.nonportable_cluster;
      break;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      *value = settings.cluster_policy;
      break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
