// Surface objects: kernels write an array, read it back through a texture, and meet its edges as
// they asked to.
#include "tests/e2e/programs/expect.h"

constexpr int kWidth = 40, kHeight = 12, kLayers = 2;

__global__ void paint(cudaSurfaceObject_t surface, int factor) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
  if (x < kWidth) surf2Dwrite(float(x * factor + y), surface, x * int(sizeof(float)), y);
}

// Conway's step on a torus: reads one surface with its own wrapping, writes another.
__global__ void live(cudaSurfaceObject_t from, cudaSurfaceObject_t to) {
  const int x = threadIdx.x, y = blockIdx.x;
  int neighbours = 0;
  for (int n = 0; n < 9; n++) {
    if (n == 4) continue;
    const int u = (x + n % 3 - 1 + kWidth) % kWidth, v = (y + n / 3 - 1 + kHeight) % kHeight;
    neighbours += surf2Dread<unsigned char>(from, u, v);
  }
  const unsigned char alive = surf2Dread<unsigned char>(from, x, y);
  surf2Dwrite<unsigned char>(neighbours == 3 || (alive && neighbours == 2), to, x, y);
}

__global__ void edges(cudaSurfaceObject_t surface, float* out) {
  out[0] = surf2Dread<float>(surface, -4, 0, cudaBoundaryModeClamp);
  out[1] = surf2Dread<float>(surface, kWidth * 4, kHeight + 3, cudaBoundaryModeClamp);
  out[2] = surf2Dread<float>(surface, -4, 0, cudaBoundaryModeZero);
  surf2Dwrite(99.0f, surface, kWidth * 4, 0, cudaBoundaryModeZero);
}

__global__ void stack(cudaSurfaceObject_t surface) {
  const int x = threadIdx.x, y = blockIdx.x, layer = blockIdx.y;
  surf2DLayeredwrite(make_int2(x + 100 * y, layer), surface, x * 8, y, layer);
}

__global__ void sum_stack(cudaSurfaceObject_t surface, int* sum) {
  const int2 texel = surf2DLayeredread<int2>(surface, threadIdx.x * 8, blockIdx.x, blockIdx.y);
  atomicAdd(sum, texel.x * (texel.y + 1));
}

template <class T>
cudaArray_t make_array(cudaExtent extent, unsigned flags) {
  const auto format = cudaCreateChannelDesc<T>();
  cudaArray_t array = nullptr;
  CUDA_OK(cudaMalloc3DArray(&array, &format, extent, flags | cudaArraySurfaceLoadStore));
  return array;
}

cudaSurfaceObject_t make_surface(cudaArray_t array) {
  cudaResourceDesc what{};
  what.resType = cudaResourceTypeArray;
  what.res.array.array = array;
  cudaSurfaceObject_t surface = 0;
  CUDA_OK(cudaCreateSurfaceObject(&surface, &what));
  return surface;
}

void painted() {
  cudaArray_t array = make_array<float>(make_cudaExtent(kWidth, kHeight, 0), 0);
  const auto surface = make_surface(array);
  paint<<<dim3(2, kHeight), 32>>>(surface, 3);
  std::vector<float> texels(kWidth * kHeight);
  CUDA_OK(cudaMemcpy2DFromArray(texels.data(), kWidth * 4, array, 0, 0, kWidth * 4, kHeight,
                                cudaMemcpyDeviceToHost));
  for (int i = 0; i < kWidth * kHeight; i++) EXPECT(texels[i] == i % kWidth * 3 + i / kWidth);
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, 3 * sizeof(float)));
  edges<<<1, 1>>>(surface, out);
  const std::vector<float> read = to_host(out, 3);
  EXPECT(read[0] == 0 && read[1] == (kWidth - 1) * 3 + kHeight - 1 && read[2] == 0);
  CUDA_OK(cudaDestroySurfaceObject(surface));
  CUDA_OK(cudaFreeArray(array));
}

void lived() {
  std::vector<unsigned char> cells(kWidth * kHeight);
  const int glider[5] = {1, kWidth + 2, 2 * kWidth, 2 * kWidth + 1, 2 * kWidth + 2};
  for (const int cell : glider) cells[cell] = 1;
  cudaArray_t arrays[2];
  cudaSurfaceObject_t surfaces[2];
  for (int n = 0; n < 2; n++) {
    arrays[n] = make_array<unsigned char>(make_cudaExtent(kWidth, kHeight, 0), 0);
    surfaces[n] = make_surface(arrays[n]);
  }
  CUDA_OK(cudaMemcpy2DToArray(arrays[0], 0, 0, cells.data(), kWidth, kWidth, kHeight,
                              cudaMemcpyHostToDevice));
  const int steps = 4 * 10;  // four steps move a glider by one cell down and right
  for (int n = 0; n < steps; n++) live<<<kHeight, kWidth>>>(surfaces[n % 2], surfaces[1 - n % 2]);
  std::vector<unsigned char> after(cells.size());
  CUDA_OK(cudaMemcpy2DFromArray(after.data(), kWidth, arrays[0], 0, 0, kWidth, kHeight,
                                cudaMemcpyDeviceToHost));
  for (int y = 0; y < kHeight; y++) {
    for (int x = 0; x < kWidth; x++) {
      EXPECT(after[(y + 10) % kHeight * kWidth + (x + 10) % kWidth] == cells[y * kWidth + x]);
    }
  }
}

void stacked() {
  cudaArray_t array = make_array<int2>(make_cudaExtent(kWidth, kHeight, kLayers), cudaArrayLayered);
  const auto surface = make_surface(array);
  stack<<<dim3(kHeight, kLayers), kWidth>>>(surface);
  int* sum = to_device(std::vector<int>{0});
  sum_stack<<<dim3(kHeight, kLayers), kWidth>>>(surface, sum);
  int expected = 0;
  for (int i = 0; i < kWidth * kHeight; i++) expected += 3 * (i % kWidth + 100 * (i / kWidth));
  EXPECT(to_host(sum, 1)[0] == expected);
}

int main() {
  painted();
  lived();
  stacked();
  std::puts("surfaces ok");
}
