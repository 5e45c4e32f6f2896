// Writes outside its memory: the error shows at the next synchronisation and then sticks.
#include "tests/e2e/programs/expect.h"

__global__ void write_far(int* data, long long offset) { data[offset] = 1; }

int main() {
  int* data = nullptr;
  CUDA_OK(cudaMalloc(&data, 1024));
  write_far<<<1, 1>>>(data, 1ll << 40);
  const cudaError_t launched = cudaGetLastError();
  const cudaError_t synchronised = cudaDeviceSynchronize();
  const cudaError_t copied = cudaMemset(data, 0, 1024);
  const cudaError_t allocated = cudaMalloc(&data, 64);
  const cudaError_t again = cudaDeviceSynchronize();
  std::printf("error_out_of_bounds: launch %s, synchronise %s\n", cudaGetErrorName(launched),
              cudaGetErrorName(synchronised));
  std::printf("then memset %s, malloc %s, synchronise %s\n", cudaGetErrorName(copied),
              cudaGetErrorName(allocated), cudaGetErrorName(again));
  EXPECT(launched == cudaSuccess);
  for (cudaError_t error : {synchronised, copied, allocated, again}) {
    EXPECT(error == cudaErrorIllegalAddress);
  }
  return 0;
}
