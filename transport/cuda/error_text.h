// Names and texts of CUresult values: what cuGetErrorName and cuGetErrorString answer.
//
//   const char* name = error_name(CUDA_ERROR_INVALID_VALUE);   // "CUDA_ERROR_INVALID_VALUE"
//   const char* text = error_text(CUDA_ERROR_INVALID_VALUE);   // "invalid argument"
//
// Owner: constant data.  Threads: any.  nullptr for a number CUDA 13.0 does not define.
#pragma once
#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

const char* error_name(CUresult result);
const char* error_text(CUresult result);

}  // namespace farcall::cuda
