// f16 and bf16.
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
HandlerList half_handlers() { return {nullptr, 0}; }
}  // namespace farcall::softgpu
