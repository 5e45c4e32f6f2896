// Threads of one warp go different ways: nested branches, uneven loops, early returns, switches.
#include "tests/e2e/programs/expect.h"

__host__ __device__ int collatz(unsigned value) {
  int steps = 0;
  while (value != 1) {
    value = value % 2 ? value * 3 + 1 : value / 2;
    steps++;
  }
  return steps;
}

__host__ __device__ int wander(int i) {
  int result = 0;
  for (int k = 0; k < i % 37; k++) {
    if (k % 3 == 0) {
      if (i & 1) continue;
      result += k;
    } else if ((k + i) % 11 == 5) {
      break;
    }
    switch ((i + k) % 6) {
      case 0: result += 7; break;
      case 1: result ^= 0x55; break;
      case 2: result -= k; [[fallthrough]];
      case 3: result *= 3; break;
      case 4:
        if (result > 1000) return -result;
        break;
      default: result++;
    }
  }
  return result;
}

__global__ void run(int* steps, int* wandered, int* order, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  steps[i] = collatz(static_cast<unsigned>(i + 1));
  wandered[i] = wander(i);
  // Both halves of the warp meet again: each reads what its partner in the other half wrote.
  const int lane = threadIdx.x % 32;
  int own = lane < 16 ? lane * 2 : lane * 3;
  if (lane % 2) {
    own += 100;
  }
  __syncwarp();
  order[i] = __shfl_xor_sync(0xffffffff, own, 16);
}

int main() {
  const int count = 2048;
  int *steps = nullptr, *wandered = nullptr, *order = nullptr;
  for (int** memory : {&steps, &wandered, &order}) CUDA_OK(cudaMalloc(memory, count * sizeof(int)));
  run<<<count / 128, 128>>>(steps, wandered, order, count);
  CUDA_OK(cudaGetLastError());
  std::vector<int> s = to_host(steps, count), w = to_host(wandered, count),
                   o = to_host(order, count);
  long long total = 0;
  for (int i = 0; i < count; i++) {
    const int partner = (i % 32) ^ 16;
    EXPECT(s[i] == collatz(static_cast<unsigned>(i + 1)));
    EXPECT(w[i] == wander(i));
    EXPECT(o[i] == (partner < 16 ? partner * 2 : partner * 3) + (partner % 2 ? 100 : 0));
    total += s[i] + w[i];
  }
  for (int* memory : {steps, wandered, order}) CUDA_OK(cudaFree(memory));
  std::printf("divergence: %d threads, total %lld\n", count, total);
  return 0;
}
