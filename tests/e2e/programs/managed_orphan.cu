// Touches what a kernel left in managed memory, after somebody has had time to take the server
// away.
#include "tests/e2e/programs/expect.h"

__global__ void fill(int* data, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] = i + 1;
}

int main() {
  const int count = 1 << 18;
  int* data = nullptr;
  CUDA_OK(cudaMallocManaged(&data, count * sizeof(int)));
  fill<<<count / 256, 256>>>(data, count);
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(data[0] == 1);
  std::printf("ready\n");
  std::fflush(stdout);
  std::getchar();
  EXPECT(data[0] == 1);  // is here
  const int last = data[count - 1];
  std::printf("the last is %d\n", last);
  return 0;
}
