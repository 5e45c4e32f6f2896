// A data set in batches, dealt out over the program's devices, then looked at: who has how much?
//
// Usage: shard_job DEVICES BATCHES
// Reads from standard input: a seed in hexadecimal, of which the records are made (shards.py makes
// the same), so that they are in no file; says "live" when every device has worked on its batches
// and still holds them; ends at the next line.
#include <cstdint>
#include <string>

#include "tests/e2e/programs/expect.h"

struct alignas(16) Record {
  std::uint64_t head, body;
};

constexpr int kRecords = 16384;  // of a batch: 256 KiB

std::uint64_t drawn(std::uint64_t seed, std::uint64_t number) {  // splitmix64
  std::uint64_t z = seed + (number + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

__global__ void sum_bodies(const Record* batch, unsigned long long* sum) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < kRecords) atomicAdd(sum, static_cast<unsigned long long>(batch[i].body));
}

// Takes a batch to the current device, which keeps it.
void work_on(std::uint64_t seed, int batch) {
  std::vector<Record> host(kRecords);
  std::uint64_t expected = 0;
  for (int i = 0; i < kRecords; i++) {
    host[i] = {drawn(seed, 0), drawn(seed, 1 + static_cast<std::uint64_t>(batch) * kRecords + i)};
    expected += host[i].body;
  }
  Record* there = nullptr;
  unsigned long long *sum = nullptr, found = 0;
  CUDA_OK(cudaMalloc(&there, kRecords * sizeof(Record)));
  CUDA_OK(cudaMalloc(&sum, sizeof *sum));
  CUDA_OK(cudaMemset(sum, 0, sizeof *sum));
  CUDA_OK(cudaMemcpy(there, host.data(), kRecords * sizeof(Record), cudaMemcpyHostToDevice));
  sum_bodies<<<kRecords / 256, 256>>>(there, sum);
  CUDA_OK(cudaGetLastError());
  CUDA_OK(cudaMemcpy(&found, sum, sizeof found, cudaMemcpyDeviceToHost));
  EXPECT(found == expected);
}

int main(int count, char** words) {
  if (count != 3) return 2;
  const int devices = std::atoi(words[1]), batches = std::atoi(words[2]);
  std::setvbuf(stdout, nullptr, _IOLBF, 4096);
  char line[64];
  if (std::fgets(line, sizeof line, stdin) == nullptr) return 2;
  const std::uint64_t seed = std::strtoull(line, nullptr, 16);
  int have = 0;
  CUDA_OK(cudaGetDeviceCount(&have));
  EXPECT(devices > 0 && devices <= have);
  for (int batch = 0; batch < batches; batch++) {
    CUDA_OK(cudaSetDevice(batch % devices));
    work_on(seed, batch);
  }
  std::printf("live\n");
  (void)std::fgets(line, sizeof line, stdin);
  return 0;
}
