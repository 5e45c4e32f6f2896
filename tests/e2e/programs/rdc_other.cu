// Relocatable device code, file two of two: see rdc_main.cu.
#include "tests/e2e/programs/expect.h"

__device__ int shared_counter = 1000;
__constant__ int shared_table[4] = {10, 20, 30, 40};

__device__ __noinline__ int mixed(int value, int round) {
  return value % 2 ? value * 3 + round : value / 2 - round;
}

int read_counter() {
  int value = 0;
  CUDA_OK(cudaMemcpyFromSymbol(&value, shared_counter, sizeof value));
  return value;
}
