// One stream waits for another by an event: without the order, the result would be wrong.
#include "tests/e2e/programs/expect.h"

// Slow on purpose: the reader would win the race if it did not wait.
__global__ void write_slowly(unsigned* cells, int count, unsigned round) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned value = round;
  for (int k = 0; k < 2000; k++) value = value * 1664525u + 1013904223u;
  if (i < count) cells[i] = value;
}

__global__ void read_after(const unsigned* cells, unsigned* copy, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) copy[i] = cells[i] ^ 0x5a5a5a5au;
}

int main() {
  const int count = 4096, rounds = 8;
  unsigned *cells = nullptr, *copy = nullptr;
  CUDA_OK(cudaMalloc(&cells, count * sizeof(unsigned)));
  CUDA_OK(cudaMalloc(&copy, count * sizeof(unsigned)));
  cudaStream_t writer, reader;
  CUDA_OK(cudaStreamCreateWithFlags(&writer, cudaStreamNonBlocking));
  CUDA_OK(cudaStreamCreateWithFlags(&reader, cudaStreamNonBlocking));
  cudaEvent_t written, taken, begin, end;
  CUDA_OK(cudaEventCreateWithFlags(&written, cudaEventDisableTiming));
  CUDA_OK(cudaEventCreateWithFlags(&taken, cudaEventDisableTiming));
  CUDA_OK(cudaEventCreate(&begin));
  CUDA_OK(cudaEventCreate(&end));

  CUDA_OK(cudaEventRecord(begin, writer));
  for (unsigned round = 0; round < rounds; round++) {
    CUDA_OK(cudaStreamWaitEvent(writer, taken, 0));  // never recorded at first: no wait
    write_slowly<<<count / 128, 128, 0, writer>>>(cells, count, round);
    CUDA_OK(cudaEventRecord(written, writer));
    CUDA_OK(cudaStreamWaitEvent(reader, written, 0));
    read_after<<<count / 128, 128, 0, reader>>>(cells, copy, count);
    CUDA_OK(cudaEventRecord(taken, reader));
  }
  CUDA_OK(cudaEventRecord(end, writer));
  CUDA_OK(cudaEventSynchronize(taken));
  EXPECT(cudaEventQuery(taken) == cudaSuccess && cudaEventQuery(written) == cudaSuccess);
  CUDA_OK(cudaEventSynchronize(end));
  float milliseconds = -1;
  CUDA_OK(cudaEventElapsedTime(&milliseconds, begin, end));
  EXPECT(milliseconds >= 0);
  EXPECT(cudaEventElapsedTime(&milliseconds, begin, taken) == cudaErrorInvalidResourceHandle);
  EXPECT(cudaGetLastError() == cudaErrorInvalidResourceHandle);

  unsigned expected = rounds - 1;
  for (int k = 0; k < 2000; k++) expected = expected * 1664525u + 1013904223u;
  expected ^= 0x5a5a5a5au;
  for (unsigned value : to_host(copy, count)) EXPECT(value == expected);
  for (cudaEvent_t event : {written, taken, begin, end}) CUDA_OK(cudaEventDestroy(event));
  for (cudaStream_t stream : {writer, reader}) CUDA_OK(cudaStreamDestroy(stream));
  CUDA_OK(cudaFree(cells));
  CUDA_OK(cudaFree(copy));
  std::printf("events_order: %d rounds in order, last value %08x\n", rounds, expected);
  return 0;
}
