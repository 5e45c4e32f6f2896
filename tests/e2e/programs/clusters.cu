// Thread block clusters: shared memory of other blocks, the cluster's barrier, sizes that the
// kernel or the launch says, and bulk copies that an mbarrier counts.
#include <cooperative_groups.h>

#include "tests/e2e/programs/expect.h"

namespace cg = cooperative_groups;

constexpr int kThreads = 64;

// Each block reads what its neighbour in the cluster wrote.
__device__ void exchange(int* out) {
  __shared__ int mine[kThreads];
  const cg::cluster_group cluster = cg::this_cluster();
  const unsigned rank = cluster.block_rank(), blocks = cluster.num_blocks();
  mine[threadIdx.x] = int(blockIdx.x * 1000 + threadIdx.x);
  cluster.sync();
  const int* next = cluster.map_shared_rank(mine, (rank + 1) % blocks);
  out[blockIdx.x * kThreads + threadIdx.x] = next[threadIdx.x];
  cluster.sync();  // nobody leaves while others read
}
__global__ void __cluster_dims__(4, 1, 1) exchange_in_fours(int* out) { exchange(out); }
__global__ void exchange_as_launched(int* out) { exchange(out); }

// A histogram that is spread over the blocks of a cluster.
__global__ void histogram(const int* values, int count, int* bins, int bins_of_block) {
  extern __shared__ int own[];
  const cg::cluster_group cluster = cg::this_cluster();
  for (int i = threadIdx.x; i < bins_of_block; i += blockDim.x) own[i] = 0;
  cluster.sync();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    int* const there = cluster.map_shared_rank(own, values[i] / bins_of_block);
    atomicAdd(there + values[i] % bins_of_block, 1);
  }
  cluster.sync();
  int* const to = bins + cluster.block_rank() * bins_of_block;
  for (int i = threadIdx.x; i < bins_of_block; i += blockDim.x) atomicAdd(to + i, own[i]);
}

// One thread copies a tile; all wait for its bytes.
__global__ void copy_tiles(const int* from, int* to) {
  __shared__ alignas(16) int tile[kThreads];
  __shared__ alignas(8) unsigned long long arrived;
  const unsigned bar = unsigned(__cvta_generic_to_shared(&arrived));
  const unsigned room = unsigned(__cvta_generic_to_shared(tile));
  if (threadIdx.x == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(bar));
  __syncthreads();
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar),
                 "r"(unsigned(sizeof tile)));
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(room),
        "l"(from + blockIdx.x * kThreads), "r"(unsigned(sizeof tile)), "r"(bar)
        : "memory");
  }
  unsigned done = 0;
  while (done == 0) {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0; selp.u32 %0, 1, 0, "
        "p; }"
        : "=r"(done)
        : "r"(bar)
        : "memory");
  }
  to[blockIdx.x * kThreads + threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

template <class... Formal, class... Actual>
cudaError_t launch_clusters(void (*kernel)(Formal...), int grid, int cluster, int shared,
                            Actual... actual) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(grid);
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = shared;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = cluster;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, Formal(actual)...);
}

void check_exchange(const int* out, int grid, int cluster) {
  const std::vector<int> got = to_host(out, grid * kThreads);
  for (int b = 0; b < grid; b++) {
    const int other = b / cluster * cluster + (b % cluster + 1) % cluster;
    for (int t = 0; t < kThreads; t++) EXPECT(got[b * kThreads + t] == other * 1000 + t);
  }
}

int main() {
  int* out = to_device(std::vector<int>(12 * kThreads));
  exchange_in_fours<<<12, kThreads>>>(out);
  check_exchange(out, 12, 4);
  for (const int cluster : {1, 2, 3, 6}) {
    CUDA_OK(launch_clusters(exchange_as_launched, 12, cluster, 0, out));
    check_exchange(out, 12, cluster);
  }
  EXPECT(launch_clusters(exchange_as_launched, 12, 5, 0, out) == cudaErrorInvalidClusterSize);
  EXPECT(cudaGetLastError() == cudaErrorInvalidClusterSize);

  constexpr int kBins = 256, kCount = 20000;
  std::vector<int> values(kCount), want(kBins);
  Random random(5);
  for (int& x : values) want[x = int(random.next() % kBins)]++;
  int* bins = to_device(std::vector<int>(kBins));
  CUDA_OK(launch_clusters(histogram, 8, 4, kBins / 4 * int(sizeof(int)), to_device(values), kCount,
                          bins, kBins / 4));
  EXPECT(to_host(bins, kBins) == want);

  std::vector<int> numbers(8 * kThreads);
  for (int i = 0; i < 8 * kThreads; i++) numbers[i] = i * 3;
  copy_tiles<<<8, kThreads>>>(to_device(numbers), out);
  const std::vector<int> tiles = to_host(out, 8 * kThreads);
  for (int i = 0; i < 8 * kThreads; i++) {
    EXPECT(tiles[i] == numbers[i / kThreads * kThreads + kThreads - 1 - i % kThreads]);
  }
  std::puts("clusters ok");
}
