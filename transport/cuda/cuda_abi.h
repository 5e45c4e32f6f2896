// The only file that includes <cuda.h>.
//
// __CUDA_API_VERSION_INTERNAL keeps cuda.h from renaming functions with macros, so each versioned
// symbol (cuMemAlloc_v2, cuCtxCreate_v4, cuMemcpyHtoD_v2_ptds …) is declared under its true name
// and a name in our sources means exactly one symbol of libcuda.so.1. Source: CUDA Toolkit 13.0,
// cuda.h.
#pragma once
#ifdef CUDA_VERSION
#  error "include transport/cuda/cuda_abi.h instead of cuda.h"
#endif
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
