// Shared memory whose size is chosen at launch, also above 48 KiB after asking for it.
#include "tests/e2e/programs/expect.h"

// Each thread reads what the thread opposite wrote; two arrays of different types in one block.
__global__ void exchange(const int* in, double* out, int count) {
  extern __shared__ __align__(16) unsigned char memory[];
  double* doubles = reinterpret_cast<double*>(memory);
  int* ints = reinterpret_cast<int*>(doubles + count);
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    ints[i] = in[i];
    doubles[i] = 0.5 * in[i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    out[i] = doubles[count - 1 - i] + ints[(i + 1) % count];
  }
}

void run(int count) {
  std::vector<int> in(count);
  for (int i = 0; i < count; i++) in[i] = 3 * i + 1;
  int* device_in = to_device(in);
  double* out = nullptr;
  CUDA_OK(cudaMalloc(&out, count * sizeof(double)));
  const std::size_t bytes = count * (sizeof(double) + sizeof(int));
  exchange<<<1, 256, bytes>>>(device_in, out, count);
  CUDA_OK(cudaGetLastError());
  std::vector<double> result = to_host(out, count);
  for (int i = 0; i < count; i++) {
    EXPECT(result[i] == 0.5 * in[count - 1 - i] + in[(i + 1) % count]);
  }
  CUDA_OK(cudaFree(device_in));
  CUDA_OK(cudaFree(out));
  std::printf("dynamic_shared: %zu bytes, last %.1f\n", bytes, result.back());
}

int main() {
  run(1);
  run(333);
  run(4096);  // 48 KiB
  // More than 48 KiB needs leave, first refused, then granted.
  const int count = 5000;
  exchange<<<1, 256, count*(sizeof(double) + sizeof(int))>>>(nullptr, nullptr, count);
  EXPECT(cudaGetLastError() == cudaErrorInvalidValue);
  CUDA_OK(cudaFuncSetAttribute(exchange, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000));
  run(count);
  cudaFuncAttributes about{};
  CUDA_OK(cudaFuncGetAttributes(&about, exchange));
  EXPECT(about.maxDynamicSharedSizeBytes == 60000 && about.sharedSizeBytes == 0);
  return 0;
}
