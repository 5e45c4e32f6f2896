// Launches that fail: at the driver (of a stream that is gone) or on the device (out of bounds).
// What the program is told, and when, is what tests/e2e/errors.py looks at.
//   failed_launch gone|fault
#include <cstring>

#include "tests/e2e/programs/expect.h"

__global__ void saxpy(float a, const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = a * x[i] + y[i];
}

__global__ void scale(float a, float* x) { x[threadIdx.x] *= a; }

void told(const char* by, cudaError_t error) {
  std::printf("%s: %s\n", by, cudaGetErrorName(error));
}

int main(int, char** argv) {
  const bool is_gone = std::strcmp(argv[1], "gone") == 0;
  float *x = nullptr, *y = nullptr;
  CUDA_OK(cudaMalloc(&x, 64 * sizeof(float)));
  CUDA_OK(cudaMalloc(&y, 64 * sizeof(float)));
  CUDA_OK(cudaMemset(x, 0, 64 * sizeof(float)));
  scale<<<1, 64>>>(2.0f, x);
  CUDA_OK(cudaDeviceSynchronize());
  cudaStream_t stream = nullptr;
  if (is_gone) {
    CUDA_OK(cudaStreamCreate(&stream));
    CUDA_OK(cudaStreamDestroy(stream));
  }
  scale<<<1, 64>>>(3.0f, x);
  saxpy<<<1, 64, 0, stream>>>(1.0f, is_gone ? x : x + (1 << 28), y);
  told("launch", cudaGetLastError());
  told("synchronize", cudaDeviceSynchronize());
  return 0;
}
