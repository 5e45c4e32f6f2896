// Built for one real architecture without PTX: a device that runs PTX only must say so.
// A GPU of that architecture runs it; both are right, and both say which.
#include "tests/e2e/programs/expect.h"

__global__ void set(int* out) { *out = 9; }

int main() {
  int* out = nullptr;
  CUDA_OK(cudaMalloc(&out, sizeof(int)));
  set<<<1, 1>>>(out);
  const cudaError_t error = cudaGetLastError();
  std::printf("error_sass_only: %s\n", cudaGetErrorName(error));
  EXPECT(error == cudaSuccess || error == cudaErrorNoKernelImageForDevice);
  if (error == cudaSuccess) EXPECT(to_host(out, 1)[0] == 9);
  CUDA_OK(cudaFree(out));  // the context is whole
  return 0;
}
