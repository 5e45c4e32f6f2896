// Cooperative groups: tiles of 32, 8 and 4 threads that shuffle, vote and sum among themselves.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

#include "tests/e2e/programs/expect.h"

namespace cg = cooperative_groups;

__global__ void by_tiles(const int* in, int* sums8, int* votes, int* scans) {
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
  cg::thread_block_tile<8> eight = cg::tiled_partition<8>(warp);
  const int self = static_cast<int>(block.group_index().x * block.size() + block.thread_rank());
  const int value = in[self];

  const int sum = cg::reduce(eight, value, cg::plus<int>());
  if (eight.thread_rank() == 0) sums8[self / 8] = sum;

  const unsigned odd = warp.ballot(value & 1);
  const bool any = eight.any(value > 90), all = eight.all(value < 95);
  votes[self] = static_cast<int>(__popc(odd)) * 4 + (any ? 2 : 0) + (all ? 1 : 0);

  // An inclusive scan over the tile, by hand.
  int running = value;
  for (unsigned step = 1; step < 8; step *= 2) {
    const int below = eight.shfl_up(running, step);
    if (eight.thread_rank() >= step) running += below;
  }
  block.sync();
  scans[self] = running + eight.shfl(value, 0) - eight.shfl_xor(value, 1);
}

int main() {
  const int count = 4 * 96;
  Random random(23);
  std::vector<int> in(count);
  for (int& value : in) value = static_cast<int>(random.next() % 100);
  int* device = to_device(in);
  int *sums = nullptr, *votes = nullptr, *scans = nullptr;
  CUDA_OK(cudaMalloc(&sums, count / 8 * sizeof(int)));
  CUDA_OK(cudaMalloc(&votes, count * sizeof(int)));
  CUDA_OK(cudaMalloc(&scans, count * sizeof(int)));
  by_tiles<<<4, 96>>>(device, sums, votes, scans);
  CUDA_OK(cudaGetLastError());
  std::vector<int> found_sums = to_host(sums, count / 8);
  std::vector<int> found_votes = to_host(votes, count), found_scans = to_host(scans, count);
  for (int i = 0; i < count; i++) {
    const int tile = i / 8 * 8, warp = i / 32 * 32;
    int sum = 0, scan = 0, odd = 0;
    bool any = false, all = true;
    for (int k = tile; k < tile + 8; k++) {
      sum += in[k];
      if (k <= i) scan += in[k];
      any = any || in[k] > 90;
      all = all && in[k] < 95;
    }
    for (int k = warp; k < warp + 32; k++) odd += in[k] & 1;
    EXPECT(found_sums[i / 8] == sum);
    EXPECT(found_votes[i] == odd * 4 + (any ? 2 : 0) + (all ? 1 : 0));
    EXPECT(found_scans[i] == scan + in[tile] - in[i ^ 1]);
  }
  for (int* memory : {device, sums, votes, scans}) CUDA_OK(cudaFree(memory));
  std::printf("cooperative_warps: %d threads agree, last sum %d\n", count, found_sums.back());
  return 0;
}
