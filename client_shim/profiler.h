// cudaProfiler.h under our cuda.h: the profiler functions are declared there and nowhere else.
#pragma once
#include "transport/cuda/cuda_abi.h"
// After cuda_abi.h, because it includes cuda.h by itself.
#include <cudaProfiler.h>
