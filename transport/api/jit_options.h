// is_plain_jit_option(): the one list of compiler options that go to the server as they stand.
//
//   if (!is_plain_jit_option(option)) return CUDA_ERROR_NOT_SUPPORTED;
//
// The client sends no other option but the sizes of the two logs, and the server takes no other, so
// both read this list. CU_JIT_WALL_TIME is not on it: its value is an output.
// Threads: any.
#pragma once
#include "transport/cuda/cuda_abi.h"

namespace farcall::api {

// Is the option's value a number and nothing else? Source: CUDA Driver API 13.0, CUjit_option.
constexpr bool is_plain_jit_option(CUjit_option option) {
  switch (option) {
    case CU_JIT_MAX_REGISTERS:
    case CU_JIT_THREADS_PER_BLOCK:
    case CU_JIT_OPTIMIZATION_LEVEL:
    case CU_JIT_TARGET_FROM_CUCONTEXT:
    case CU_JIT_TARGET:
    case CU_JIT_FALLBACK_STRATEGY:
    case CU_JIT_GENERATE_DEBUG_INFO:
    case CU_JIT_LOG_VERBOSE:
    case CU_JIT_GENERATE_LINE_INFO:
    case CU_JIT_CACHE_MODE:
    case CU_JIT_FAST_COMPILE:
    case CU_JIT_LTO:
    case CU_JIT_FTZ:
    case CU_JIT_PREC_DIV:
    case CU_JIT_PREC_SQRT:
    case CU_JIT_FMA:
    case CU_JIT_OPTIMIZE_UNUSED_DEVICE_VARIABLES:
    case CU_JIT_POSITION_INDEPENDENT_CODE:
    case CU_JIT_MIN_CTA_PER_SM:
    case CU_JIT_MAX_THREADS_PER_BLOCK:
    case CU_JIT_OVERRIDE_DIRECTIVE_VALUES: return true;
    default: return false;
  }
}

}  // namespace farcall::api
