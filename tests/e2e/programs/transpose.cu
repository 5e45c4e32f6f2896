// Transposes a matrix through padded tiles: two-dimensional blocks, several rows for each thread.
#include "tests/e2e/programs/expect.h"

constexpr int kTile = 32, kRows = 8;

__global__ void transpose(const double* in, double* out, int width, int height) {
  __shared__ double tile[kTile][kTile + 1];
  int x = blockIdx.x * kTile + threadIdx.x;
  int y = blockIdx.y * kTile + threadIdx.y;
  for (int row = 0; row < kTile; row += kRows) {
    if (x < width && y + row < height) {
      tile[threadIdx.y + row][threadIdx.x] = in[(y + row) * width + x];
    }
  }
  __syncthreads();
  x = blockIdx.y * kTile + threadIdx.x;
  y = blockIdx.x * kTile + threadIdx.y;
  for (int row = 0; row < kTile; row += kRows) {
    if (x < height && y + row < width) {
      out[(y + row) * height + x] = tile[threadIdx.x][threadIdx.y + row];
    }
  }
}

int main() {
  const int width = 701, height = 389;
  std::vector<double> in(width * height);
  for (std::size_t i = 0; i < in.size(); i++) in[i] = static_cast<double>(i) * 0.125;
  double* device_in = to_device(in);
  double* device_out = nullptr;
  CUDA_OK(cudaMalloc(&device_out, in.size() * sizeof(double)));
  const dim3 grid((width + kTile - 1) / kTile, (height + kTile - 1) / kTile);
  transpose<<<grid, dim3(kTile, kRows)>>>(device_in, device_out, width, height);
  CUDA_OK(cudaGetLastError());
  std::vector<double> out = to_host(device_out, in.size());
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) EXPECT(out[x * height + y] == in[y * width + x]);
  }
  CUDA_OK(cudaFree(device_in));
  CUDA_OK(cudaFree(device_out));
  std::printf("transpose: %d x %d is right\n", width, height);
  return 0;
}
