// Bitonic sort: in shared memory while pairs are near, in global memory when they are far.
#include <algorithm>

#include "tests/e2e/programs/expect.h"

constexpr int kBlock = 512;

__device__ void order(unsigned& low, unsigned& high, bool ascending) {
  if ((low > high) == ascending) {
    const unsigned kept = low;
    low = high;
    high = kept;
  }
}

__global__ void merge_far(unsigned* keys, unsigned size, unsigned stride) {
  const unsigned self = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned low = 2 * self - (self & (stride - 1));
  order(keys[low], keys[low + stride], (low & size) == 0);
}

__global__ void merge_near(unsigned* keys, unsigned first_size, unsigned last_size) {
  __shared__ unsigned tile[2 * kBlock];
  const unsigned base = blockIdx.x * 2 * kBlock;
  tile[threadIdx.x] = keys[base + threadIdx.x];
  tile[threadIdx.x + kBlock] = keys[base + threadIdx.x + kBlock];
  for (unsigned size = first_size; size <= last_size; size *= 2) {
    for (unsigned stride = min(size / 2, static_cast<unsigned>(kBlock)); stride > 0; stride /= 2) {
      __syncthreads();
      const unsigned low = 2 * threadIdx.x - (threadIdx.x & (stride - 1));
      order(tile[low], tile[low + stride], ((base + low) & size) == 0);
    }
  }
  __syncthreads();
  keys[base + threadIdx.x] = tile[threadIdx.x];
  keys[base + threadIdx.x + kBlock] = tile[threadIdx.x + kBlock];
}

int main() {
  const unsigned count = 1u << 16, blocks = count / (2 * kBlock);
  Random random(31);
  std::vector<unsigned> keys(count);
  for (unsigned& key : keys) key = random.next();
  unsigned* device = to_device(keys);
  merge_near<<<blocks, kBlock>>>(device, 2, 2 * kBlock);
  for (unsigned size = 4 * kBlock; size <= count; size *= 2) {
    for (unsigned stride = size / 2; stride > kBlock; stride /= 2) {
      merge_far<<<blocks, kBlock>>>(device, size, stride);
    }
    merge_near<<<blocks, kBlock>>>(device, size, size);
  }
  CUDA_OK(cudaGetLastError());
  std::vector<unsigned> sorted = to_host(device, count);
  std::sort(keys.begin(), keys.end());
  EXPECT(sorted == keys);
  CUDA_OK(cudaFree(device));
  std::printf("sort_bitonic: %u keys in order, the middle is %u\n", count, sorted[count / 2]);
  return 0;
}
