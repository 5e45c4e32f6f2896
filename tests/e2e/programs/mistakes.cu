// Makes the one mistake its argument names, for farcall check; "none" runs the twins without one.
// check.py finds a mistake's line by the word behind "mistake:".
#include <cstring>

#include "tests/e2e/programs/expect.h"

constexpr int kThreads = 64;

__global__ void fill(int* data, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] = i;
}

__global__ void fill_all(int* data) {
  data[blockIdx.x * blockDim.x + threadIdx.x] = 1;  // mistake: behind
}

__global__ void sum(const int* data, int* out) {
  atomicAdd(out, data[threadIdx.x]);  // mistake: unwritten, freed
}

__global__ void shift(int* data) {
  __shared__ int tile[kThreads];
  tile[threadIdx.x] = data[threadIdx.x];
  __syncthreads();
  data[threadIdx.x] = tile[(threadIdx.x + 1) % kThreads];
}

__global__ void shift_at_once(int* data) {
  __shared__ int tile[kThreads];
  tile[threadIdx.x] = data[threadIdx.x];
  data[threadIdx.x] = tile[(threadIdx.x + 1) % kThreads];  // mistake: race
}

__global__ void half_a_tile(int* data) {
  __shared__ int tile[kThreads];
  if (threadIdx.x < kThreads / 2) tile[threadIdx.x] = data[threadIdx.x];
  __syncthreads();
  data[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];  // mistake: tile
}

int main(int argc, char** argv) {
  const char* const mistake = argc > 1 ? argv[1] : "none";
  const auto is = [&](const char* name) { return std::strcmp(mistake, name) == 0; };
  int *data = nullptr, *out = nullptr;
  CUDA_OK(cudaMalloc(&data, kThreads * sizeof(int)));
  CUDA_OK(cudaMalloc(&out, sizeof(int)));
  CUDA_OK(cudaMemset(out, 0, sizeof(int)));
  if (!is("unwritten")) fill<<<1, 2 * kThreads>>>(data, kThreads);
  if (is("behind")) fill_all<<<2, kThreads>>>(data);
  if (is("race")) shift_at_once<<<1, kThreads>>>(data);
  if (is("tile")) half_a_tile<<<1, kThreads>>>(data);
  if (is("none")) shift<<<1, kThreads>>>(data);
  if (is("freed")) CUDA_OK(cudaFree(data));
  if (!is("behind")) sum<<<1, kThreads>>>(data, out);
  const cudaError_t end = cudaDeviceSynchronize();
  std::printf("mistakes: %s ends with %s\n", mistake, cudaGetErrorName(end));
  if (is("none")) CUDA_OK(cudaFree(data));
  if (is("none")) CUDA_OK(cudaFree(out));
  return 0;
}
