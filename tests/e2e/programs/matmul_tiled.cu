// Multiplies matrices through tiles in shared memory; the sizes are no multiples of the tile.
#include "tests/e2e/programs/expect.h"

constexpr int kTile = 16;

__global__ void multiply(const float* a, const float* b, float* c, int rows, int inner,
                         int columns) {
  __shared__ float tile_a[kTile][kTile];
  __shared__ float tile_b[kTile][kTile + 1];
  const int row = blockIdx.y * kTile + threadIdx.y;
  const int column = blockIdx.x * kTile + threadIdx.x;
  float sum = 0;
  for (int first = 0; first < inner; first += kTile) {
    const int x = first + threadIdx.x, y = first + threadIdx.y;
    tile_a[threadIdx.y][threadIdx.x] = row < rows && x < inner ? a[row * inner + x] : 0.0f;
    tile_b[threadIdx.y][threadIdx.x] =
        y < inner && column < columns ? b[y * columns + column] : 0.0f;
    __syncthreads();
    for (int k = 0; k < kTile; k++) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
    __syncthreads();
  }
  if (row < rows && column < columns) c[row * columns + column] = sum;
}

int main() {
  const int rows = 150, inner = 203, columns = 131;
  std::vector<float> a(rows * inner), b(inner * columns);
  for (std::size_t i = 0; i < a.size(); i++)
    a[i] = static_cast<float>(static_cast<int>(i % 13) - 6);
  for (std::size_t i = 0; i < b.size(); i++) b[i] = static_cast<float>(static_cast<int>(i % 7) - 3);
  float* device_a = to_device(a);
  float* device_b = to_device(b);
  float* device_c = nullptr;
  CUDA_OK(cudaMalloc(&device_c, rows * columns * sizeof(float)));
  const dim3 grid((columns + kTile - 1) / kTile, (rows + kTile - 1) / kTile);
  multiply<<<grid, dim3(kTile, kTile)>>>(device_a, device_b, device_c, rows, inner, columns);
  CUDA_OK(cudaGetLastError());
  std::vector<float> c = to_host(device_c, rows * columns);

  // Small whole numbers: every sum is exact, in any order.
  double trace = 0;
  for (int row = 0; row < rows; row++) {
    for (int column = 0; column < columns; column++) {
      float expected = 0;
      for (int k = 0; k < inner; k++) expected += a[row * inner + k] * b[k * columns + column];
      EXPECT(c[row * columns + column] == expected);
      if (row == column) trace += expected;
    }
  }
  CUDA_OK(cudaFree(device_a));
  CUDA_OK(cudaFree(device_b));
  CUDA_OK(cudaFree(device_c));
  std::printf("matmul_tiled: %d x %d x %d is exact, trace %.0f\n", rows, inner, columns, trace);
  return 0;
}
