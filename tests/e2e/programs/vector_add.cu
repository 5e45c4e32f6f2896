// Adds two vectors whose length is no multiple of the block.
#include "tests/e2e/programs/expect.h"

__global__ void add(const float* a, const float* b, float* sum, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) sum[i] = a[i] + b[i];
}

int main() {
  const int count = 1000003;
  std::vector<float> a(count), b(count);
  for (int i = 0; i < count; i++) {
    a[i] = static_cast<float>(i % 1000);
    b[i] = static_cast<float>(i % 77) * 0.5f;
  }
  float* device_a = to_device(a);
  float* device_b = to_device(b);
  float* device_sum = nullptr;
  CUDA_OK(cudaMalloc(&device_sum, count * sizeof(float)));
  add<<<(count + 255) / 256, 256>>>(device_a, device_b, device_sum, count);
  CUDA_OK(cudaGetLastError());
  std::vector<float> sum = to_host(device_sum, count);
  for (int i = 0; i < count; i++) EXPECT(sum[i] == a[i] + b[i]);
  CUDA_OK(cudaFree(device_a));
  CUDA_OK(cudaFree(device_b));
  CUDA_OK(cudaFree(device_sum));
  std::printf("vector_add: %d elements are right\n", count);
  return 0;
}
