// Handler lists of one instruction set. Each file of this folder is compiled once per instruction
// set with FARCALL_ISA naming it (baseline, avx2, avx512), and contributes one list, or the
// arithmetic of matrices or images.
#pragma once
#include "gpu_server/software_gpu/exec/warp.h"

namespace farcall::softgpu {
struct MatrixMath;  // matrix_math.h
struct TexelMath;   // texel_math.h
}  // namespace farcall::softgpu

#define FARCALL_HANDLER_LISTS(isa)    \
  namespace farcall::softgpu::isa {   \
  HandlerList integer_handlers();     \
  HandlerList float_handlers();       \
  HandlerList compare_handlers();     \
  HandlerList convert_handlers();     \
  HandlerList access_handlers();      \
  HandlerList exchange_handlers();    \
  HandlerList matrix_move_handlers(); \
  HandlerList async_copy_handlers();  \
  const MatrixMath& matrix_math();    \
  const TexelMath& texel_math();      \
  }

#if defined(FARCALL_ISA)
FARCALL_HANDLER_LISTS(FARCALL_ISA)
#endif
