// Launches that cannot be: refused at once, without harm to what follows.
#include "tests/e2e/programs/expect.h"

__global__ void fill(int* out) { out[threadIdx.x] = static_cast<int>(threadIdx.x); }

__global__ void __launch_bounds__(64) fill_small(int* out) { out[threadIdx.x] = 1; }

void refused(const char* what, cudaError_t expected) {
  const cudaError_t error = cudaGetLastError();
  std::printf("error_bad_configuration: %s: %s\n", what, cudaGetErrorName(error));
  EXPECT(error == expected);
}

int main() {
  int* out = nullptr;
  CUDA_OK(cudaMalloc(&out, 256 * sizeof(int)));
  fill<<<1, 1025>>>(out);
  refused("1025 threads", cudaErrorInvalidConfiguration);
  fill<<<0, 32>>>(out);
  refused("no blocks", cudaErrorInvalidConfiguration);
  fill<<<1, dim3(1, 1, 65)>>>(out);
  refused("65 layers", cudaErrorInvalidConfiguration);
  fill<<<dim3(1, 65536), 32>>>(out);
  refused("65536 rows of blocks", cudaErrorInvalidConfiguration);
  fill<<<1, 32, 1 << 20>>>(out);
  refused("1 MiB of shared memory", cudaErrorInvalidValue);

  CUDA_OK(cudaDeviceSynchronize());
  fill<<<1, 256>>>(out);
  CUDA_OK(cudaGetLastError());
  std::vector<int> result = to_host(out, 256);
  for (int i = 0; i < 256; i++) EXPECT(result[i] == i);
  fill_small<<<1, 64>>>(out);
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(cudaMemcpy(out, result.data(), 4, static_cast<cudaMemcpyKind>(77)) ==
         cudaErrorInvalidMemcpyDirection);
  EXPECT(cudaGetLastError() == cudaErrorInvalidMemcpyDirection);
  CUDA_OK(cudaFree(out));
  std::printf("error_bad_configuration: a good launch after them works\n");
  return 0;
}
