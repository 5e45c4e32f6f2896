// Works until CUDA says no: what the fault tests interrupt. Prints "ready" once calls go through,
// then the first error's name, and exits with 3.
#include "tests/e2e/programs/expect.h"

__global__ void spin(unsigned* out, int rounds) {
  unsigned value = threadIdx.x;
  for (int k = 0; k < rounds; k++) value = value * 1664525u + 1013904223u;
  out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

int main() {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  unsigned* out = nullptr;
  const std::size_t bytes = 64 * 128 * sizeof(unsigned);
  std::vector<unsigned> host(64 * 128);
  cudaError_t error = cudaMalloc(&out, bytes);
  for (bool first = true; error == cudaSuccess; first = false) {
    spin<<<64, 128>>>(out, 20000);
    error = cudaMemcpy(host.data(), out, bytes, cudaMemcpyDeviceToHost);
    if (first && error == cudaSuccess) std::printf("ready\n");
  }
  std::printf("%s\n", cudaGetErrorName(error));
  // Once broken it stays broken, and says so at once.
  const bool stays = cudaDeviceSynchronize() != cudaSuccess && cudaMalloc(&out, 64) != cudaSuccess;
  std::printf("%s\n", stays ? "and stays so" : "but then worked again");
  return 3;
}
