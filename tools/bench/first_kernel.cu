// A program that ends with its first kernel: through Farcall, FARCALL_STATS says how many of its
// calls needed an answer. One allocation and one copy come before, as in any program that computes.
#include <cstdio>

__global__ void twice(float* values) { values[threadIdx.x] *= 2; }

int main() {
  float host[32] = {1};
  float* device = nullptr;
  if (cudaMalloc(&device, sizeof host) != cudaSuccess) return 1;
  if (cudaMemcpyAsync(device, host, sizeof host, cudaMemcpyHostToDevice) != cudaSuccess) return 1;
  twice<<<1, 32>>>(device);
  return cudaPeekAtLastError() == cudaSuccess ? 0 : 1;
}
