// Six host threads, each with its own stream and data; one more waits for all of them by events.
#include <thread>

#include "tests/e2e/programs/expect.h"

__global__ void grow(unsigned* values, int count, unsigned factor) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] = values[i] * factor + 1;
}

constexpr int kThreads = 6, kCount = 3000, kRounds = 20;

void work(int number, unsigned* result, cudaEvent_t done) {
  CUDA_OK(cudaSetDevice(0));
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  std::vector<unsigned> values(kCount, static_cast<unsigned>(number));
  unsigned* device = nullptr;
  CUDA_OK(cudaMalloc(&device, kCount * sizeof(unsigned)));
  CUDA_OK(cudaMemcpyAsync(device, values.data(), kCount * sizeof(unsigned), cudaMemcpyHostToDevice,
                          stream));
  for (int round = 0; round < kRounds; round++) {
    grow<<<(kCount + 63) / 64, 64, 0, stream>>>(device, kCount, 3 + 2 * number);
  }
  CUDA_OK(cudaEventRecord(done, stream));
  CUDA_OK(cudaStreamSynchronize(stream));
  values = to_host(device, kCount);
  for (unsigned value : values) EXPECT(value == values[0]);
  *result = values[0];
  CUDA_OK(cudaFree(device));
  CUDA_OK(cudaStreamDestroy(stream));
}

int main() {
  std::vector<cudaEvent_t> done(kThreads);
  for (cudaEvent_t& event : done) CUDA_OK(cudaEventCreate(&event));
  std::vector<unsigned> results(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++) threads.emplace_back(work, i, &results[i], done[i]);
  for (std::thread& thread : threads) thread.join();
  for (cudaEvent_t event : done) {
    EXPECT(cudaEventQuery(event) == cudaSuccess);
    CUDA_OK(cudaEventDestroy(event));
  }
  for (int i = 0; i < kThreads; i++) {
    unsigned expected = static_cast<unsigned>(i);
    for (int round = 0; round < kRounds; round++) expected = expected * (3 + 2 * i) + 1;
    EXPECT(results[i] == expected);
    std::printf("host_threads: thread %d has %u\n", i, results[i]);
  }
  // An error belongs to the thread that made it.
  std::thread([] { EXPECT(cudaSetDevice(99) == cudaErrorInvalidDevice); }).join();
  EXPECT(cudaGetLastError() == cudaSuccess);
  return 0;
}
