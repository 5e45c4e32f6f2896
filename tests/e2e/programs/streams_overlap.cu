// Four streams work on four slices of one array, each with its own copies; then all must be done.
#include "tests/e2e/programs/expect.h"

__global__ void square_plus(const int* in, int* out, int count, int add) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = in[i] * in[i] + add;
}

int main() {
  const int streams = 4, slice = 100000, rounds = 5;
  int *host_in = nullptr, *host_out = nullptr, *in = nullptr, *out = nullptr;
  const std::size_t bytes = sizeof(int) * streams * slice;
  CUDA_OK(cudaMallocHost(&host_in, bytes));
  CUDA_OK(cudaMallocHost(&host_out, bytes));
  CUDA_OK(cudaMalloc(&in, bytes));
  CUDA_OK(cudaMalloc(&out, bytes));
  for (int i = 0; i < streams * slice; i++) host_in[i] = i % 3000;

  cudaStream_t stream[streams];
  for (cudaStream_t& one : stream) CUDA_OK(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking));
  for (int round = 0; round < rounds; round++) {
    for (int s = 0; s < streams; s++) {
      const std::size_t first = static_cast<std::size_t>(s) * slice, part = sizeof(int) * slice;
      CUDA_OK(
          cudaMemcpyAsync(in + first, host_in + first, part, cudaMemcpyHostToDevice, stream[s]));
      square_plus<<<(slice + 255) / 256, 256, 0, stream[s]>>>(in + first, out + first, slice, s);
      CUDA_OK(
          cudaMemcpyAsync(host_out + first, out + first, part, cudaMemcpyDeviceToHost, stream[s]));
    }
  }
  for (cudaStream_t one : stream) CUDA_OK(cudaStreamSynchronize(one));
  for (cudaStream_t one : stream) EXPECT(cudaStreamQuery(one) == cudaSuccess);
  long long sum = 0;
  for (int i = 0; i < streams * slice; i++) {
    EXPECT(host_out[i] == host_in[i] * host_in[i] + i / slice);
    sum += host_out[i];
  }

  int lowest = 0, highest = 0;
  CUDA_OK(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
  cudaStream_t urgent;
  CUDA_OK(cudaStreamCreateWithPriority(&urgent, cudaStreamNonBlocking, highest));
  int priority = 1;
  CUDA_OK(cudaStreamGetPriority(urgent, &priority));
  EXPECT(priority <= 0 && lowest >= highest);
  CUDA_OK(cudaStreamDestroy(urgent));
  for (cudaStream_t one : stream) CUDA_OK(cudaStreamDestroy(one));
  CUDA_OK(cudaFreeHost(host_in));
  CUDA_OK(cudaFreeHost(host_out));
  CUDA_OK(cudaFree(in));
  CUDA_OK(cudaFree(out));
  std::printf("streams_overlap: %d streams, sum %lld\n", streams, sum);
  return 0;
}
