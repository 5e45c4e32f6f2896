// The call of kernels that sets a graph's condition: one more among those that every module may
// declare (runtime.h), whose values belong to graph_condition.h.
// Threads: none.
#pragma once
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {

inline constexpr Library kSetGraphCondition =
    static_cast<Library>(static_cast<int>(Library::kGetLastError) + 1);

}  // namespace farcall::softgpu
