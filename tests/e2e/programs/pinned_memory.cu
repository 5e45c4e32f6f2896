// Pinned host memory without mapping: allocated and registered, copied asynchronously.
#include "tests/e2e/programs/expect.h"

__global__ void reverse(const int* in, int* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[count - 1 - i] = in[i];
}

int main() {
  const int count = 50000;
  const std::size_t bytes = count * sizeof(int);
  int *pinned = nullptr, *in = nullptr, *out = nullptr;
  CUDA_OK(cudaHostAlloc(&pinned, bytes, cudaHostAllocDefault));
  std::vector<int> registered(count, -1);
  CUDA_OK(cudaHostRegister(registered.data(), bytes, cudaHostRegisterDefault));
  CUDA_OK(cudaMalloc(&in, bytes));
  CUDA_OK(cudaMalloc(&out, bytes));
  for (int i = 0; i < count; i++) pinned[i] = i * 7;

  cudaPointerAttributes about{};
  CUDA_OK(cudaPointerGetAttributes(&about, pinned));
  EXPECT(about.type == cudaMemoryTypeHost);
  CUDA_OK(cudaPointerGetAttributes(&about, in));
  EXPECT(about.type == cudaMemoryTypeDevice && about.device == 0 && about.devicePointer == in);
  CUDA_OK(cudaPointerGetAttributes(&about, &count));
  EXPECT(about.type == cudaMemoryTypeUnregistered);

  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));
  CUDA_OK(cudaMemcpyAsync(in, pinned, bytes, cudaMemcpyHostToDevice, stream));
  reverse<<<(count + 127) / 128, 128, 0, stream>>>(in, out, count);
  CUDA_OK(cudaMemcpyAsync(registered.data(), out, bytes, cudaMemcpyDeviceToHost, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  for (int i = 0; i < count; i++) EXPECT(registered[i] == pinned[count - 1 - i]);

  CUDA_OK(cudaHostUnregister(registered.data()));
  EXPECT(cudaHostUnregister(registered.data()) == cudaErrorHostMemoryNotRegistered);
  EXPECT(cudaGetLastError() == cudaErrorHostMemoryNotRegistered);
  CUDA_OK(cudaStreamDestroy(stream));
  CUDA_OK(cudaFreeHost(pinned));
  CUDA_OK(cudaFree(in));
  CUDA_OK(cudaFree(out));
  std::printf("pinned_memory: %d numbers reversed, first %d\n", count, registered[0]);
  return 0;
}
