// Takes all of the device's time it can get, and counts the blocks that its kernels finished.
//
//   share_greedy plain|graph|cooperative|mixed SPINS [BLOCKS]
//   share_greedy endless                 one kernel that never ends
//   share_greedy seldom SPINS COUNT      one launch and its end at a time; µs of each
//
// It prints "ready", reads a line, and goes: until a line comes, or BLOCKS are finished. Then it
// prints how many were. A few launches are under way at a time, as in any program that never lets
// its device wait.
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include <cooperative_groups.h>

#include "tests/e2e/programs/expect.h"

constexpr int kBlocks = 4;
constexpr int kThreads = 64;
constexpr int kUnderWay = 8;

__device__ unsigned g_sink;

__device__ void spend(int spins) {
  unsigned value = threadIdx.x;
  for (int i = 0; i < spins; ++i) value = value * 1664525u + 1013904223u;
  if (value == 12345u) g_sink = value;  // never so for what the test asks, and not known to nvcc
}

__global__ void work(unsigned long long* finished, int spins) {
  spend(spins);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(finished, 1ull);
}

__global__ void work_together(unsigned long long* finished, int spins) {
  spend(spins / 2);
  cooperative_groups::this_grid().sync();
  spend(spins / 2);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(finished, 1ull);
}

__global__ void never_end(volatile unsigned* flag) {
  while (*flag == 0) {
  }
}

struct Work {
  unsigned long long* finished = nullptr;  // the host's, the device's too
  int spins = 0;
  cudaStream_t stream = nullptr;
  cudaGraphExec_t graph = nullptr;

  explicit Work(int how_much) : spins(how_much) {
    CUDA_OK(cudaMalloc(&finished, sizeof *finished));
    CUDA_OK(cudaMemset(finished, 0, sizeof *finished));
    CUDA_OK(cudaStreamCreate(&stream));
    cudaGraph_t twice = nullptr;
    CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < 2; ++i) work<<<kBlocks, kThreads, 0, stream>>>(finished, spins);
    CUDA_OK(cudaStreamEndCapture(stream, &twice));
    CUDA_OK(cudaGraphInstantiate(&graph, twice, 0));
  }
  // Returns how many blocks it is.
  unsigned long long launch(const char* how, unsigned turn) {
    const bool all = std::strcmp(how, "mixed") == 0;
    if (std::strcmp(how, "graph") == 0 || (all && turn % 3 == 1)) {
      CUDA_OK(cudaGraphLaunch(graph, stream));
      return 2 * kBlocks;
    }
    if (std::strcmp(how, "cooperative") == 0 || (all && turn % 3 == 2)) {
      void* arguments[] = {&finished, &spins};
      CUDA_OK(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(work_together), kBlocks, kThreads,
                                          arguments, 0, stream));
      return kBlocks;
    }
    work<<<kBlocks, kThreads, 0, stream>>>(finished, spins);
    CUDA_OK(cudaGetLastError());
    return kBlocks;
  }
};

static bool is_told() {
  pollfd line{STDIN_FILENO, POLLIN, 0};
  return poll(&line, 1, 0) > 0;
}

static void await_start() {
  std::printf("ready\n");
  std::fflush(stdout);
  char line[16];
  if (read(STDIN_FILENO, line, sizeof line) <= 0) std::exit(0);
}

static int greedy(const char* how, int spins, unsigned long long most) {
  Work work(spins);
  cudaEvent_t behind[kUnderWay];
  for (cudaEvent_t& event : behind) CUDA_OK(cudaEventCreate(&event));
  unsigned long long launched = work.launch(how, 0);
  CUDA_OK(cudaDeviceSynchronize());
  await_start();
  unsigned turn = 0;
  for (; !is_told() && (most == 0 || launched < most); ++turn) {
    CUDA_OK(cudaEventSynchronize(behind[turn % kUnderWay]));
    launched += work.launch(how, turn);
    CUDA_OK(cudaEventRecord(behind[turn % kUnderWay], work.stream));
  }
  CUDA_OK(cudaDeviceSynchronize());
  unsigned long long finished = 0;
  CUDA_OK(cudaMemcpy(&finished, work.finished, sizeof finished, cudaMemcpyDeviceToHost));
  EXPECT(finished == launched);
  std::printf("finished %llu\n", finished);
  return 0;
}

static int endless() {
  unsigned* flag = nullptr;
  CUDA_OK(cudaMalloc(&flag, sizeof *flag));
  CUDA_OK(cudaMemset(flag, 0, sizeof *flag));
  CUDA_OK(cudaDeviceSynchronize());
  await_start();
  never_end<<<1, 1>>>(flag);
  CUDA_OK(cudaGetLastError());
  std::printf("launched\n");
  std::fflush(stdout);
  CUDA_OK(cudaDeviceSynchronize());
  return 0;
}

static int seldom(int spins, int count) {
  using Clock = std::chrono::steady_clock;
  Work work(spins);
  await_start();
  for (int i = 0; i < count; ++i) {
    usleep(20'000);
    const Clock::time_point start = Clock::now();
    work.launch("plain", 0);
    CUDA_OK(cudaStreamSynchronize(work.stream));
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
    std::printf("%lld\n", static_cast<long long>(took.count()));
  }
  return 0;
}

int main(int count, char** words) {
  if (count == 2 && std::strcmp(words[1], "endless") == 0) return endless();
  if (count == 4 && std::strcmp(words[1], "seldom") == 0) {
    return seldom(std::atoi(words[2]), std::atoi(words[3]));
  }
  if (count < 3) return 2;
  return greedy(words[1], std::atoi(words[2]),
                count > 3 ? std::strtoull(words[3], nullptr, 10) : 0);
}
