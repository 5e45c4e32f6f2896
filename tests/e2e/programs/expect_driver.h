// What test programs of the Driver API add to expect.h. A program that includes it links libcuda.
//
//   DRIVER_OK(cuMemAlloc(&data, bytes));     // prints the error's number and exits with 1
#pragma once
#include <cuda.h>

#include "tests/e2e/programs/expect.h"

#define DRIVER_OK(call)                                                         \
  do {                                                                          \
    const CUresult result_ = (call);                                            \
    if (result_ != CUDA_SUCCESS) {                                              \
      std::printf("%s:%d: %s: error %d\n", __FILE__, __LINE__, #call, result_); \
      std::exit(1);                                                             \
    }                                                                           \
  } while (false)
