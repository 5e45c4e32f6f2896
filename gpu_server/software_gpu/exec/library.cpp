// Device functions that every module may declare without defining: printf, assert, malloc, free.
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
HandlerList library_handlers() { return {nullptr, 0}; }
}  // namespace farcall::softgpu
