// Estimates pi and prices an option by random walks: a generator for each thread, exp, log, cos.
#include "tests/e2e/programs/expect.h"

__device__ unsigned next_random(unsigned long long* state) {
  *state = *state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<unsigned>(*state >> 32);
}

__device__ float unit(unsigned long long* state) {
  return (static_cast<float>(next_random(state) >> 8) + 0.5f) / 16777216.0f;
}

__global__ void count_inside(unsigned long long* inside, int tries) {
  unsigned long long state = (blockIdx.x * blockDim.x + threadIdx.x) * 7919ull + 12345;
  unsigned found = 0;
  for (int i = 0; i < tries; i++) {
    const float x = unit(&state), y = unit(&state);
    if (x * x + y * y < 1.0f) found++;
  }
  atomicAdd(inside, static_cast<unsigned long long>(found));
}

// European call, Box-Muller normals; each thread writes its own mean, so the sum has one order.
__global__ void price(float* means, int walks, float spot, float strike, float rate, float sigma) {
  const int self = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long state = self * 104729ull + 99;
  float sum = 0;
  for (int i = 0; i < walks; i++) {
    const float radius = sqrtf(-2.0f * logf(unit(&state)));
    const float normal = radius * __cosf(6.2831853f * (unit(&state) - 0.5f));
    const float end = spot * expf(rate - 0.5f * sigma * sigma + sigma * normal);
    sum += fmaxf(end - strike, 0.0f);
  }
  means[self] = expf(-rate) * sum / static_cast<float>(walks);
}

int main() {
  const int threads = 64 * 128, tries = 64;
  unsigned long long* inside = to_device(std::vector<unsigned long long>{0});
  count_inside<<<64, 128>>>(inside, tries);
  CUDA_OK(cudaGetLastError());
  const unsigned long long found = to_host(inside, 1)[0];
  const double pi = 4.0 * static_cast<double>(found) / (static_cast<double>(threads) * tries);
  EXPECT(std::fabs(pi - 3.14159265) < 0.01);

  float* means = nullptr;
  CUDA_OK(cudaMalloc(&means, threads * sizeof(float)));
  price<<<64, 128>>>(means, 32, 100.0f, 105.0f, 0.05f, 0.2f);
  CUDA_OK(cudaGetLastError());
  double value = 0;
  for (float mean : to_host(means, threads)) value += mean / threads;
  EXPECT(std::fabs(value - 8.02) < 0.15);  // Black and Scholes say 8.02
  std::printf("monte_carlo: %llu points inside, pi is about %.3f, the option costs %.2f\n", found,
              pi, value);
  CUDA_OK(cudaFree(inside));
  CUDA_OK(cudaFree(means));
  return 0;
}
