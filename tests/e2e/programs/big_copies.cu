// Tens of MiB both ways and across the device, at sizes and offsets that fit no power of two.
#include "tests/e2e/programs/expect.h"

__global__ void stir(unsigned* words, std::size_t count) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    words[i] = words[i] * 2654435761u + static_cast<unsigned>(i);
  }
}

int main() {
  const std::size_t sizes[] = {1, 4095, 65536, 65537, 1048583, 33554432 + 12345};
  for (std::size_t bytes : sizes) {
    std::vector<unsigned char> host(bytes);
    for (std::size_t i = 0; i < bytes; i++) {
      host[i] = static_cast<unsigned char>(i * 31 + (i >> 8) + (i >> 16));
    }
    unsigned char *there = nullptr, *copy = nullptr;
    CUDA_OK(cudaMalloc(&there, bytes + 64));
    CUDA_OK(cudaMalloc(&copy, bytes + 64));
    CUDA_OK(cudaMemcpy(there + 1, host.data(), bytes, cudaMemcpyHostToDevice));
    CUDA_OK(cudaMemcpy(copy + 3, there + 1, bytes, cudaMemcpyDeviceToDevice));
    std::vector<unsigned char> back(bytes);
    CUDA_OK(cudaMemcpy(back.data(), copy + 3, bytes, cudaMemcpyDeviceToHost));
    EXPECT(back == host);
    CUDA_OK(cudaFree(there));
    CUDA_OK(cudaFree(copy));
    std::printf("big_copies: %zu bytes came back, %016llx\n", bytes,
                static_cast<unsigned long long>(checksum(back.data(), bytes)));
  }

  // A kernel between two big copies: the order holds although all three are asynchronous.
  const std::size_t count = 6000000;
  std::vector<unsigned> words(count, 9u);
  unsigned* device = nullptr;
  CUDA_OK(cudaMalloc(&device, count * sizeof(unsigned)));
  CUDA_OK(cudaMemcpyAsync(device, words.data(), count * sizeof(unsigned), cudaMemcpyHostToDevice));
  stir<<<64, 256>>>(device, count);
  CUDA_OK(cudaMemcpyAsync(words.data(), device, count * sizeof(unsigned), cudaMemcpyDeviceToHost));
  CUDA_OK(cudaDeviceSynchronize());
  for (std::size_t i = 0; i < count; i++)
    EXPECT(words[i] == 9u * 2654435761u + static_cast<unsigned>(i));
  CUDA_OK(cudaFree(device));
  std::printf("big_copies: stirred, last %u\n", words.back());
  return 0;
}
