// Relocatable device code, file one of two: calls a function and reads a variable of the other.
#include "tests/e2e/programs/expect.h"

extern __device__ int shared_counter;
extern __constant__ int shared_table[4];
__device__ int mixed(int value, int round);  // rdc_other.cu

__global__ void use(int* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int value = i;
  for (int round = 0; round < 3; round++) value = mixed(value, round);
  out[i] = value + shared_table[i % 4];
  atomicAdd(&shared_counter, 1);
}

int read_counter();  // rdc_other.cu

int main() {
  const int count = 700;
  int* out = nullptr;
  CUDA_OK(cudaMalloc(&out, count * sizeof(int)));
  use<<<(count + 127) / 128, 128>>>(out, count);
  CUDA_OK(cudaGetLastError());
  std::vector<int> result = to_host(out, count);
  const int table[4] = {10, 20, 30, 40};
  for (int i = 0; i < count; i++) {
    int value = i;
    for (int round = 0; round < 3; round++)
      value = value % 2 ? value * 3 + round : value / 2 - round;
    EXPECT(result[i] == value + table[i % 4]);
  }
  EXPECT(read_counter() == 1000 + count);
  CUDA_OK(cudaFree(out));
  std::printf("rdc: %d results over two files, counter %d\n", count, read_counter());
  return 0;
}
