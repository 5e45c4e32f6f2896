// Sums and finds the maximum: shuffles inside warps, shared memory between them, atomics at the
// end.
#include <algorithm>
#include <climits>

#include "tests/e2e/programs/expect.h"

__global__ void reduce(const int* values, int count, unsigned long long* sum, int* maximum) {
  __shared__ int sums[32];
  __shared__ int maxima[32];
  int own_sum = 0, own_maximum = INT_MIN;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    own_sum += values[i];
    own_maximum = max(own_maximum, values[i]);
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    own_sum += __shfl_down_sync(0xffffffff, own_sum, offset);
    own_maximum = max(own_maximum, __shfl_xor_sync(0xffffffff, own_maximum, offset));
  }
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) {
    sums[warp] = own_sum;
    maxima[warp] = own_maximum;
  }
  __syncthreads();
  if (warp != 0) return;
  const bool used = lane < blockDim.x / 32;
  own_sum = used ? sums[lane] : 0;
  own_maximum = used ? maxima[lane] : INT_MIN;
  for (int offset = 16; offset > 0; offset /= 2) {
    own_sum += __shfl_down_sync(0xffffffff, own_sum, offset);
    own_maximum = max(own_maximum, __shfl_xor_sync(0xffffffff, own_maximum, offset));
  }
  if (lane == 0) {
    atomicAdd(sum, static_cast<unsigned long long>(own_sum));
    atomicMax(maximum, own_maximum);
  }
}

int main() {
  const int count = 1 << 20;
  Random random(3);
  std::vector<int> values(count);
  long long expected = 0;
  int expected_maximum = 0;
  for (int& value : values) {
    value = static_cast<int>(random.next() % 2000);
    expected += value;
    expected_maximum = std::max(expected_maximum, value);
  }
  int* device = to_device(values);
  unsigned long long* sum = to_device(std::vector<unsigned long long>{0});
  int* maximum = to_device(std::vector<int>{INT_MIN});
  reduce<<<64, 224>>>(device, count, sum, maximum);
  CUDA_OK(cudaGetLastError());
  const long long found = static_cast<long long>(to_host(sum, 1)[0]);
  EXPECT(found == expected);
  EXPECT(to_host(maximum, 1)[0] == expected_maximum);
  std::printf("reduction_shuffle: sum %lld, maximum %d\n", found, expected_maximum);
  CUDA_OK(cudaFree(device));
  CUDA_OK(cudaFree(sum));
  CUDA_OK(cudaFree(maximum));
  return 0;
}
