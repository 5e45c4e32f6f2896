// Takes all the memory there is, in pieces of several sizes, and says what it was told on the way.
//
//   quota_fill            fills up to the first refusal, frees, and again
//   quota_fill hold MIB   holds so much until its input ends
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/e2e/programs/expect.h"

__global__ void set(int* at, int value) { at[threadIdx.x] = value; }

static std::size_t free_bytes() {
  std::size_t available = 0, total = 0;
  CUDA_OK(cudaMemGetInfo(&available, &total));
  return available;
}

// A piece of memory is memory, and the program goes on after a refusal.
static void use(void* memory) {
  set<<<1, 32>>>(static_cast<int*>(memory), 7);
  int seen = 0;
  CUDA_OK(cudaMemcpy(&seen, memory, sizeof seen, cudaMemcpyDeviceToHost));
  EXPECT(seen == 7);
}

static void fill(std::size_t bytes, bool from_pool) {
  const std::size_t before = free_bytes();
  std::vector<void*> all;
  for (;;) {
    void* memory = nullptr;
    cudaError_t got =
        from_pool ? cudaMallocAsync(&memory, bytes, 0) : cudaMalloc(&memory, bytes);
    if (got == cudaErrorMemoryAllocation) break;
    CUDA_OK(got);
    all.push_back(memory);
    EXPECT(all.size() < 1000000);
  }
  EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
  EXPECT(!all.empty());
  use(all.back());
  const std::size_t left = free_bytes();
  std::printf("filled %zu %d %zu %zu %zu\n", bytes, from_pool, all.size(), before, left);
  for (void* memory : all) CUDA_OK(from_pool ? cudaFreeAsync(memory, 0) : cudaFree(memory));
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(free_bytes() == before);
}

static int hold(const char* mebibytes) {
  void* memory = nullptr;
  const cudaError_t got =
      cudaMalloc(&memory, static_cast<std::size_t>(std::atoi(mebibytes)) << 20);
  std::printf("held %s %zu\n", cudaGetErrorName(got), free_bytes());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

int main(int count, char** words) {
  CUDA_OK(cudaFree(nullptr));
  if (count == 3 && std::strcmp(words[1], "hold") == 0) return hold(words[2]);
  std::size_t available = 0, total = 0;
  CUDA_OK(cudaMemGetInfo(&available, &total));
  cudaDeviceProp about{};
  CUDA_OK(cudaGetDeviceProperties(&about, 0));
  void* first = nullptr;
  CUDA_OK(cudaMalloc(&first, 512));
  use(first);  // the code is there from here on
  std::printf("total %zu %zu\n", total, about.totalGlobalMem);
  for (std::size_t bytes : {std::size_t{32} << 20, (std::size_t{4} << 20) + 1, std::size_t{1} << 20,
                            std::size_t{100000}}) {
    fill(bytes, false);
  }
  fill(std::size_t{16} << 20, true);
  const std::size_t rest = free_bytes();
  void* all = nullptr;
  EXPECT(cudaMalloc(&all, rest + 1) == cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
  CUDA_OK(cudaMalloc(&all, rest / (2 << 20) * (2 << 20)));  // all that is free, in whole blocks
  use(all);
  CUDA_OK(cudaFree(all));
  CUDA_OK(cudaFree(first));
  return 0;
}
