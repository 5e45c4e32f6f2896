// Host memory that kernels reach: mapped when it was allocated, and asked for later.
#include "tests/e2e/programs/expect.h"

__global__ void twice(const int* in, int* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = 2 * in[i];
}

int main() {
  constexpr int kCount = 100'000;
  constexpr std::size_t kBytes = kCount * sizeof(int);
  cudaDeviceProp device{};
  CUDA_OK(cudaGetDeviceProperties(&device, 0));
  EXPECT(device.canMapHostMemory == 1);
  for (unsigned flags : {unsigned{cudaHostAllocMapped}, unsigned{cudaHostAllocDefault}}) {
    int *in = nullptr, *out = nullptr, *device_in = nullptr, *device_out = nullptr;
    CUDA_OK(cudaHostAlloc(&in, kBytes, flags));
    CUDA_OK(cudaHostAlloc(&out, kBytes, flags));
    for (int i = 0; i < kCount; i++) in[i] = i;
    CUDA_OK(cudaHostGetDevicePointer(&device_in, in, 0));
    CUDA_OK(cudaHostGetDevicePointer(&device_out, out, 0));
    for (int round = 1; round <= 3; round++) {
      twice<<<(kCount + 255) / 256, 256>>>(device_in, device_out, kCount);
      CUDA_OK(cudaDeviceSynchronize());
      for (int i = 0; i < kCount; i++) EXPECT(out[i] == 2 * (i + (round - 1) * (i % 3 == 0)));
      for (int i = 0; i < kCount; i += 3) in[i]++;
    }
    // Copies see what the kernels left.
    std::vector<int> copy(kCount);
    CUDA_OK(cudaMemcpy(copy.data(), out, kBytes, cudaMemcpyDefault));
    EXPECT(copy[3] == 10 && copy[4] == 8);
    cudaPointerAttributes about{};
    CUDA_OK(cudaPointerGetAttributes(&about, in));
    EXPECT(about.type == cudaMemoryTypeHost && about.devicePointer == device_in);
    unsigned seen = 0;
    CUDA_OK(cudaHostGetFlags(&seen, in));
    EXPECT((seen & cudaHostAllocMapped) != 0);
    CUDA_OK(cudaFreeHost(in));
    CUDA_OK(cudaFreeHost(out));
  }
  std::printf("mapped_memory: %d numbers\n", kCount);
  return 0;
}
