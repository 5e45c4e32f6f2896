// Exclusive prefix sum of a long array: scan blocks, scan their totals, add them back.
#include "tests/e2e/programs/expect.h"

constexpr int kBlock = 512;

// Work-efficient: up a tree in shared memory, then down again.
__global__ void scan_block(const unsigned* in, unsigned* out, unsigned* totals, int count) {
  __shared__ unsigned tree[kBlock];
  const int self = threadIdx.x, i = blockIdx.x * kBlock + self;
  tree[self] = i < count ? in[i] : 0;
  for (int step = 1; step < kBlock; step *= 2) {
    __syncthreads();
    const int right = (self + 1) * step * 2 - 1;
    if (right < kBlock) tree[right] += tree[right - step];
  }
  __syncthreads();
  if (self == 0) {
    totals[blockIdx.x] = tree[kBlock - 1];
    tree[kBlock - 1] = 0;
  }
  for (int step = kBlock / 2; step > 0; step /= 2) {
    __syncthreads();
    const int right = (self + 1) * step * 2 - 1;
    if (right < kBlock) {
      const unsigned left = tree[right - step];
      tree[right - step] = tree[right];
      tree[right] += left;
    }
  }
  __syncthreads();
  if (i < count) out[i] = tree[self];
}

__global__ void add_offsets(unsigned* out, const unsigned* offsets, int count) {
  const int i = blockIdx.x * kBlock + threadIdx.x;
  if (i < count) out[i] += offsets[blockIdx.x];
}

int main() {
  const int count = 200001, blocks = (count + kBlock - 1) / kBlock;
  Random random(11);
  std::vector<unsigned> in(count);
  for (unsigned& value : in) value = random.next() % 100;
  unsigned* device_in = to_device(in);
  unsigned *out = nullptr, *totals = nullptr, *offsets = nullptr, *all = nullptr;
  CUDA_OK(cudaMalloc(&out, count * sizeof(unsigned)));
  CUDA_OK(cudaMalloc(&totals, blocks * sizeof(unsigned)));
  CUDA_OK(cudaMalloc(&offsets, blocks * sizeof(unsigned)));
  CUDA_OK(cudaMalloc(&all, sizeof(unsigned)));
  static_assert((200001 + kBlock - 1) / kBlock <= kBlock, "one block scans the totals");
  scan_block<<<blocks, kBlock>>>(device_in, out, totals, count);
  scan_block<<<1, kBlock>>>(totals, offsets, all, blocks);
  add_offsets<<<blocks, kBlock>>>(out, offsets, count);
  CUDA_OK(cudaDeviceSynchronize());
  std::vector<unsigned> result = to_host(out, count);
  unsigned running = 0;
  for (int i = 0; i < count; i++) {
    EXPECT(result[i] == running);
    running += in[i];
  }
  EXPECT(to_host(all, 1)[0] == running);
  for (unsigned* memory : {device_in, out, totals, offsets, all}) CUDA_OK(cudaFree(memory));
  std::printf("scan: %d prefix sums are right, the last is %u\n", count, result.back());
  return 0;
}
