// Heat spreads over a plate: a five-point stencil, two buffers swapped each step.
#include <utility>

#include "tests/e2e/programs/expect.h"

__global__ void spread(const float* now, float* next, int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= width || y >= height) return;
  const int i = y * width + x;
  if (x == 0 || y == 0 || x == width - 1 || y == height - 1) {
    next[i] = now[i];
    return;
  }
  next[i] = 0.25f * (now[i - 1] + now[i + 1] + now[i - width] + now[i + width]);
}

int main() {
  const int width = 200, height = 120, steps = 100;
  std::vector<float> plate(width * height);
  for (int x = 0; x < width; x++) plate[x] = 1024.0f;  // the hot edge
  float* now = to_device(plate);
  float* next = to_device(plate);
  const dim3 block(32, 4), grid((width + 31) / 32, (height + 3) / 4);
  for (int step = 0; step < steps; step++) {
    spread<<<grid, block>>>(now, next, width, height);
    std::swap(now, next);
  }
  CUDA_OK(cudaGetLastError());
  std::vector<float> result = to_host(now, plate.size());

  std::vector<float> other = plate;
  for (int step = 0; step < steps; step++) {
    for (int y = 1; y < height - 1; y++) {
      for (int x = 1; x < width - 1; x++) {
        const int i = y * width + x;
        other[i] = 0.25f * (plate[i - 1] + plate[i + 1] + plate[i - width] + plate[i + width]);
      }
    }
    std::swap(plate, other);
  }
  for (std::size_t i = 0; i < plate.size(); i++) EXPECT(std::fabs(result[i] - plate[i]) < 1e-3f);
  std::printf("stencil_2d: after %d steps the middle of row 5 has %.3f degrees\n", steps,
              result[5 * width + width / 2]);
  CUDA_OK(cudaFree(now));
  CUDA_OK(cudaFree(next));
  return 0;
}
