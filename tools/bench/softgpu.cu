// How fast the software GPU runs threads: vector add, a reduction and a tiled matrix product.
//
//   LD_PRELOAD=…/software_gpu/libcuda.so.1 bench_softgpu [--json FILE]
//
// The figure is millions of CUDA threads finished in a second; each result is checked once.
#include <cuda_runtime.h>

#include <cstring>

#include "tools/bench/figures.h"

using farcall::bench::Figures;
using farcall::bench::seconds;

namespace {

constexpr int kThreads = 1 << 22, kSide = 512, kTile = 16, kRounds = 7;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorName(error));
  std::exit(1);
}

__global__ void vector_add(const float* a, const float* b, float* sum) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  sum[i] = a[i] + b[i];
}

__global__ void reduce(const float* values, float* sums) {
  __shared__ float parts[8];
  float sum = values[blockIdx.x * blockDim.x + threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffff, sum, offset);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  sum = threadIdx.x < 8 ? parts[threadIdx.x] : 0.0f;
  for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffff, sum, offset);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void multiply(const float* a, const float* b, float* c) {
  __shared__ float tile_a[kTile][kTile], tile_b[kTile][kTile];
  const int row = blockIdx.y * kTile + threadIdx.y, column = blockIdx.x * kTile + threadIdx.x;
  float sum = 0;
  for (int first = 0; first < kSide; first += kTile) {
    tile_a[threadIdx.y][threadIdx.x] = a[row * kSide + first + threadIdx.x];
    tile_b[threadIdx.y][threadIdx.x] = b[(first + threadIdx.y) * kSide + column];
    __syncthreads();
    for (int k = 0; k < kTile; k++) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
    __syncthreads();
  }
  c[row * kSide + column] = sum;
}

template <class Launch>
void measure(Figures& figures, const char* name, double threads, const Launch& launch) {
  std::vector<double> rounds;
  for (int round = 0; round < kRounds + 1; round++) {
    const double took = seconds([&] {
      launch();
      check(cudaGetLastError(), name);
      check(cudaDeviceSynchronize(), name);
    });
    if (round > 0) rounds.push_back(threads * 1e-6 / took);
  }
  figures.add(name, "Mthreads/s", rounds);
}

void expect(float found, float wanted, const char* what) {
  if (found == wanted) return;
  std::fprintf(stderr, "%s: %g instead of %g\n", what, found, wanted);
  std::exit(1);
}

float last_of(const float* device, std::size_t count) {
  float value = 0;
  check(cudaMemcpy(&value, device + count - 1, sizeof value, cudaMemcpyDeviceToHost), "copy out");
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  const char* json = argc == 3 && std::strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
  std::vector<float> ones(kThreads, 1.0f);
  float *a = nullptr, *b = nullptr, *c = nullptr;
  for (float** memory : {&a, &b, &c}) {
    check(cudaMalloc(memory, kThreads * sizeof(float)), "cudaMalloc");
    check(cudaMemcpy(*memory, ones.data(), kThreads * sizeof(float), cudaMemcpyHostToDevice),
          "copy in");
  }
  Figures figures;
  measure(figures, "vector add", kThreads, [&] { vector_add<<<kThreads / 256, 256>>>(a, b, c); });
  expect(last_of(c, kThreads), 2, "vector add");
  measure(figures, "reduction", kThreads, [&] { reduce<<<kThreads / 256, 256>>>(a, c); });
  expect(last_of(c, kThreads / 256), 256, "reduction");
  const dim3 grid(kSide / kTile, kSide / kTile), block(kTile, kTile);
  measure(figures, "matrix product, 512 x 512", kSide * kSide,
          [&] { multiply<<<grid, block>>>(a, b, c); });
  expect(last_of(c, kSide * kSide), kSide, "matrix product");
  figures.print();
  return json == nullptr || figures.write(json) ? 0 : 1;
}
