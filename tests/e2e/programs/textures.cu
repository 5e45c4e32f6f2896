// Texture objects over plain memory, rows, arrays, layers, a cube and levels: read by kernels as
// the programming guide says, compared with the same sums on the host.
#include <cuda_fp16.h>

#include "tests/e2e/programs/expect.h"

constexpr int kWidth = 48, kHeight = 20, kLayers = 3;

__global__ void fetch_linear(cudaTextureObject_t texture, float* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = tex1Dfetch<float>(texture, i * 7 % count);
}

// Rotates around the middle, the way NVIDIA's first texture sample does.
__global__ void rotate(cudaTextureObject_t texture, float* out, float angle) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= kWidth || y >= kHeight) return;
  const float u = (x + 0.5f) / kWidth - 0.5f, v = (y + 0.5f) / kHeight - 0.5f;
  const float c = cosf(angle), s = sinf(angle);
  out[y * kWidth + x] = tex2D<float>(texture, u * c - v * s + 0.5f, v * c + u * s + 0.5f);
}

__global__ void blur_bytes(cudaTextureObject_t texture, uchar4* out) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= kWidth || y >= kHeight) return;
  int sum[4] = {0, 0, 0, 0};
  for (int dy = -1; dy <= 1; dy++) {
    for (int dx = -1; dx <= 1; dx++) {
      const uchar4 texel = tex2D<uchar4>(texture, x + dx + 0.5f, y + dy + 0.5f);
      sum[0] += texel.x, sum[1] += texel.y, sum[2] += texel.z, sum[3] += texel.w;
    }
  }
  out[y * kWidth + x] = make_uchar4(sum[0] / 9, sum[1] / 9, sum[2] / 9, sum[3] / 9);
}

__global__ void sum_layers(cudaTextureObject_t texture, float* out) {
  const int x = threadIdx.x, y = blockIdx.x;
  float sum = 0;
  for (int layer = 0; layer < kLayers; layer++) {
    sum = sum * 3 + tex2DLayered<float>(texture, x + 0.5f, y + 0.5f, layer);
  }
  out[y * kWidth + x] = sum;
}

__global__ void look_around(cudaTextureObject_t texture, float* out) {
  const float directions[6][3] = {{1, 0, 0},  {-1, 0, 0}, {0, 1, 0},
                                  {0, -1, 0}, {0, 0, 1},  {0, 0, -1}};
  const float* d = directions[threadIdx.x];
  out[threadIdx.x] = texCubemap<float>(texture, d[0], d[1], d[2]);
}

__global__ void by_level(cudaTextureObject_t texture, float* out) {
  out[threadIdx.x] = tex2DLod<float>(texture, 0.5f, 0.5f, threadIdx.x * 0.5f);
}

__global__ void volume(cudaTextureObject_t texture, float* out) {
  const float t = (threadIdx.x + 0.5f) / blockDim.x;
  out[threadIdx.x] = tex3D<float>(texture, t, 1 - t, t);
}

cudaTextureDesc description(cudaTextureAddressMode mode, cudaTextureFilterMode filter,
                            bool normalized) {
  cudaTextureDesc how{};
  for (auto& axis : how.addressMode) axis = mode;
  how.filterMode = filter;
  how.normalizedCoords = normalized;
  return how;
}

cudaTextureObject_t make(const cudaResourceDesc& what, const cudaTextureDesc& how) {
  cudaTextureObject_t texture = 0;
  CUDA_OK(cudaCreateTextureObject(&texture, &what, &how, nullptr));
  return texture;
}

std::vector<float> noise(int count) {
  Random random(5);
  std::vector<float> texels(count);
  for (float& texel : texels) texel = random.unit();
  return texels;
}

void linear_memory() {
  const int count = 1000;
  const std::vector<float> texels = noise(count);
  float* memory = to_device(texels);
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, count * sizeof(float)));
  cudaResourceDesc what{};
  what.resType = cudaResourceTypeLinear;
  what.res.linear.devPtr = memory;
  what.res.linear.desc = cudaCreateChannelDesc<float>();
  what.res.linear.sizeInBytes = count * sizeof(float);
  const auto texture = make(what, {});
  fetch_linear<<<4, 256>>>(texture, out, count);
  const std::vector<float> read = to_host(out, count);
  for (int i = 0; i < count; i++) EXPECT(read[i] == texels[i * 7 % count]);
  CUDA_OK(cudaDestroyTextureObject(texture));
}

cudaResourceDesc of_array(cudaArray_t array) {
  cudaResourceDesc what{};
  what.resType = cudaResourceTypeArray;
  what.res.array.array = array;
  return what;
}

// A quarter turn of a square's worth keeps texels apart; other angles are compared by their mean.
void rotated_array() {
  const std::vector<float> texels = noise(kWidth * kHeight);
  const auto format = cudaCreateChannelDesc<float>();
  cudaArray_t array = nullptr;
  CUDA_OK(cudaMallocArray(&array, &format, kWidth, kHeight));
  CUDA_OK(cudaMemcpy2DToArray(array, 0, 0, texels.data(), kWidth * 4, kWidth * 4, kHeight,
                              cudaMemcpyHostToDevice));
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, texels.size() * sizeof(float)));
  const dim3 block(16, 4), grid(kWidth / 16, kHeight / 4);
  const auto texture =
      make(of_array(array), description(cudaAddressModeWrap, cudaFilterModeLinear, true));
  rotate<<<grid, block>>>(texture, out, 0);
  const std::vector<float> same = to_host(out, texels.size());
  for (std::size_t i = 0; i < texels.size(); i++) EXPECT(std::fabs(same[i] - texels[i]) < 0.01f);
  rotate<<<grid, block>>>(texture, out, 0.5f);
  double mean = 0;
  for (const float texel : to_host(out, texels.size())) mean += texel;
  EXPECT(std::fabs(mean / texels.size() - 0.5) < 0.05);
  CUDA_OK(cudaDestroyTextureObject(texture));
  CUDA_OK(cudaFreeArray(array));
}

void bytes_in_rows() {
  std::vector<uchar4> texels(kWidth * kHeight);
  for (std::size_t i = 0; i < texels.size(); i++) {
    texels[i] = make_uchar4(i, i / 3, 255 - i % 200, i % 7);
  }
  uchar4* memory = nullptr;
  std::size_t pitch = 0;
  CUDA_OK(cudaMallocPitch(&memory, &pitch, kWidth * 4, kHeight));
  CUDA_OK(cudaMemcpy2D(memory, pitch, texels.data(), kWidth * 4, kWidth * 4, kHeight,
                       cudaMemcpyHostToDevice));
  cudaResourceDesc what{};
  what.resType = cudaResourceTypePitch2D;
  what.res.pitch2D.devPtr = memory;
  what.res.pitch2D.desc = cudaCreateChannelDesc<uchar4>();
  what.res.pitch2D.width = kWidth;
  what.res.pitch2D.height = kHeight;
  what.res.pitch2D.pitchInBytes = pitch;
  const auto texture = make(what, description(cudaAddressModeClamp, cudaFilterModePoint, false));
  uchar4* out = nullptr;
  CUDA_OK(cudaMalloc(&out, texels.size() * 4));
  blur_bytes<<<dim3(kWidth / 16, kHeight / 4), dim3(16, 4)>>>(texture, out);
  const std::vector<uchar4> read = to_host(out, texels.size());
  int sum = 0;  // the second channel around the upper left corner
  for (int dy = -1; dy <= 1; dy++) {
    for (int dx = -1; dx <= 1; dx++) {
      sum += texels[(dy < 0 ? 0 : dy) * kWidth + (dx < 0 ? 0 : dx)].y;
    }
  }
  EXPECT(read[0].y == sum / 9);
  std::printf("blurred bytes %016llx\n",
              static_cast<unsigned long long>(checksum(read.data(), read.size() * 4)));
  CUDA_OK(cudaDestroyTextureObject(texture));
}

cudaArray_t array_3d(const std::vector<float>& texels, cudaExtent extent, unsigned flags) {
  const auto format = cudaCreateChannelDesc<float>();
  cudaArray_t array = nullptr;
  CUDA_OK(cudaMalloc3DArray(&array, &format, extent, flags));
  cudaMemcpy3DParms copy{};
  copy.srcPtr = make_cudaPitchedPtr(const_cast<float*>(texels.data()), extent.width * 4,
                                    extent.width, extent.height);
  copy.dstArray = array;
  copy.extent = extent;
  copy.kind = cudaMemcpyHostToDevice;
  CUDA_OK(cudaMemcpy3D(&copy));
  return array;
}

void layers_cube_and_volume() {
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, kWidth * kHeight * sizeof(float)));
  const std::vector<float> texels = noise(kWidth * kHeight * kLayers);
  cudaArray_t layered =
      array_3d(texels, make_cudaExtent(kWidth, kHeight, kLayers), cudaArrayLayered);
  auto texture = make(of_array(layered), {});
  sum_layers<<<kHeight, kWidth>>>(texture, out);
  const std::vector<float> sums = to_host(out, kWidth * kHeight);
  for (int i = 0; i < kWidth * kHeight; i++) {
    const float* t = &texels[i];
    EXPECT(sums[i] == fmaf(fmaf(t[0], 3, t[kWidth * kHeight]), 3, t[2 * kWidth * kHeight]));
  }
  CUDA_OK(cudaDestroyTextureObject(texture));

  std::vector<float> faces;
  for (int face = 0; face < 6; face++) faces.insert(faces.end(), 16, face + 0.25f);
  cudaArray_t cube = array_3d(faces, make_cudaExtent(4, 4, 6), cudaArrayCubemap);
  texture = make(of_array(cube), description(cudaAddressModeWrap, cudaFilterModeLinear, true));
  look_around<<<1, 6>>>(texture, out);
  const std::vector<float> seen = to_host(out, 6);
  for (int face = 0; face < 6; face++) EXPECT(seen[face] == face + 0.25f);

  std::vector<float> ramp;  // x + 10 y + 100 z: linear, so any filter gives it back
  for (int i = 0; i < 512; i++) ramp.push_back(i % 8 + 10.0f * (i / 8 % 8) + 100.0f * (i / 64));
  cudaArray_t deep = array_3d(ramp, make_cudaExtent(8, 8, 8), 0);
  texture = make(of_array(deep), description(cudaAddressModeClamp, cudaFilterModeLinear, true));
  volume<<<1, 32>>>(texture, out);
  const std::vector<float> along = to_host(out, 32);
  for (int i = 2; i < 30; i++) {
    const float t = (i + 0.5f) / 32 * 8 - 0.5f, back = 7 - t;
    EXPECT(std::fabs(along[i] - (t + 10 * back + 100 * t)) < 0.5f);
  }
}

void levels() {
  const auto format = cudaCreateChannelDescHalf();
  cudaMipmappedArray_t mipmapped = nullptr;
  CUDA_OK(cudaMallocMipmappedArray(&mipmapped, &format, make_cudaExtent(8, 8, 0), 4));
  for (int level = 0; level < 4; level++) {
    const int side = 8 >> level;
    const std::vector<__half> texels(side * side, __float2half(float(level)));
    cudaArray_t array = nullptr;
    CUDA_OK(cudaGetMipmappedArrayLevel(&array, mipmapped, level));
    CUDA_OK(cudaMemcpy2DToArray(array, 0, 0, texels.data(), side * 2, side * 2, side,
                                cudaMemcpyHostToDevice));
  }
  cudaResourceDesc what{};
  what.resType = cudaResourceTypeMipmappedArray;
  what.res.mipmap.mipmap = mipmapped;
  cudaTextureDesc how = description(cudaAddressModeClamp, cudaFilterModeLinear, true);
  how.mipmapFilterMode = cudaFilterModeLinear;
  how.maxMipmapLevelClamp = 3;
  const auto texture = make(what, how);
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, 8 * sizeof(float)));
  by_level<<<1, 8>>>(texture, out);
  const std::vector<float> read = to_host(out, 8);
  for (int i = 0; i < 8; i++) EXPECT(read[i] == (i > 6 ? 3 : i * 0.5f));
  CUDA_OK(cudaDestroyTextureObject(texture));
  CUDA_OK(cudaFreeMipmappedArray(mipmapped));
}

int main() {
  linear_memory();
  rotated_array();
  bytes_in_rows();
  layers_cube_and_volume();
  levels();
  std::puts("textures ok");
}
