// A program that is far ahead of its device: it queues copies and kernels as fast as it can, waits
// once at the end, says so, and stays until its input ends, so that memory can be looked at.
//   backlog COPIES LAUNCHES
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "expect.h"

constexpr std::size_t kBytes = std::size_t{1} << 20;

// Takes its time, and counts.
__global__ void turn(unsigned* count, int rounds) {
  unsigned value = 0;
  for (int i = 0; i < rounds; i++) value = value * 3u + static_cast<unsigned>(i);
  if (threadIdx.x == 0) *count += value == 1u ? 2u : 1u;
}

int main(int argc, char** argv) {
  const int copies = argc > 1 ? std::atoi(argv[1]) : 16;
  const int launches = argc > 2 ? std::atoi(argv[2]) : 100;
  unsigned* count = nullptr;
  unsigned char *there = nullptr, *here = nullptr;
  CUDA_OK(cudaMalloc(&count, sizeof(unsigned)));
  CUDA_OK(cudaMemset(count, 0, sizeof(unsigned)));
  CUDA_OK(cudaMalloc(&there, kBytes));
  CUDA_OK(cudaMallocHost(&here, kBytes));
  std::memset(here, 7, kBytes);
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));
  for (int i = 0; i < copies; i++) {
    turn<<<1, 32, 0, stream>>>(count, 20000);
    CUDA_OK(cudaMemcpyAsync(there, here, kBytes, cudaMemcpyHostToDevice, stream));
  }
  for (int i = 0; i < launches; i++) turn<<<1, 32, 0, stream>>>(count, 100);
  CUDA_OK(cudaStreamSynchronize(stream));
  EXPECT(to_host(count, 1)[0] == static_cast<unsigned>(copies + launches));
  EXPECT(to_host(there, kBytes)[kBytes - 1] == 7);
  std::printf("worked off\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
