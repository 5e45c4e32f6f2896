// Fills and rectangular copies: pitched memory, rows inside rows, device to device.
#include "tests/e2e/programs/expect.h"

__global__ void add_position(unsigned char* image, std::size_t pitch, int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < width && y < height) {
    image[y * pitch + x] = static_cast<unsigned char>(image[y * pitch + x] + x + 3 * y);
  }
}

int main() {
  const int width = 101, height = 37, border = 4;
  unsigned char* image = nullptr;
  std::size_t pitch = 0;
  CUDA_OK(cudaMallocPitch(&image, &pitch, width, height));
  EXPECT(pitch >= static_cast<std::size_t>(width) && pitch % 32 == 0);
  CUDA_OK(cudaMemset2D(image, pitch, 7, width, height));
  add_position<<<dim3(4, 5), dim3(32, 8)>>>(image, pitch, width, height);
  CUDA_OK(cudaGetLastError());

  // Into the middle of a wider host picture; its border must stay untouched.
  const int wide = width + 2 * border;
  std::vector<unsigned char> picture(wide * (height + 2 * border), 0xee);
  CUDA_OK(cudaMemcpy2D(&picture[border * wide + border], wide, image, pitch, width, height,
                       cudaMemcpyDeviceToHost));
  for (int y = 0; y < height + 2 * border; y++) {
    for (int x = 0; x < wide; x++) {
      const int u = x - border, v = y - border;
      const bool inside = u >= 0 && u < width && v >= 0 && v < height;
      EXPECT(picture[y * wide + x] == (inside ? (7 + u + 3 * v) % 256 : 0xee));
    }
  }

  // Back up shifted by one column, then across the device and down again.
  unsigned char* other = nullptr;
  std::size_t other_pitch = 0;
  CUDA_OK(cudaMallocPitch(&other, &other_pitch, 64, 16));
  CUDA_OK(cudaMemset(other, 0, other_pitch * 16));
  CUDA_OK(cudaMemcpy2D(image, pitch, &picture[border * wide + border + 1], wide, width - 1, height,
                       cudaMemcpyHostToDevice));
  CUDA_OK(cudaMemcpy2D(other, other_pitch, image + 2 * pitch + 10, pitch, 64, 16,
                       cudaMemcpyDeviceToDevice));
  std::vector<unsigned char> patch(64 * 16);
  CUDA_OK(cudaMemcpy2D(patch.data(), 64, other, other_pitch, 64, 16, cudaMemcpyDeviceToHost));
  for (int y = 0; y < 16; y++) {
    for (int x = 0; x < 64; x++) EXPECT(patch[y * 64 + x] == (7 + x + 11 + 3 * (y + 2)) % 256);
  }

  // Plain fills and a flat device-to-device copy, at offsets that are not aligned.
  unsigned char* flat = nullptr;
  CUDA_OK(cudaMalloc(&flat, 1000));
  CUDA_OK(cudaMemset(flat, 0x11, 1000));
  CUDA_OK(cudaMemsetAsync(flat + 13, 0x22, 101));
  CUDA_OK(cudaMemcpy(flat + 501, flat + 7, 200, cudaMemcpyDeviceToDevice));
  std::vector<unsigned char> bytes = to_host(flat, 1000);
  for (int i = 0; i < 1000; i++) {
    const int from = i >= 501 && i < 701 ? i - 494 : i;
    EXPECT(bytes[i] == (from >= 13 && from < 114 ? 0x22 : 0x11));
  }
  for (unsigned char* memory : {image, other, flat}) CUDA_OK(cudaFree(memory));
  std::printf("memset_and_pitched: picture %016llx, flat %016llx\n",
              static_cast<unsigned long long>(checksum(picture.data(), picture.size())),
              static_cast<unsigned long long>(checksum(bytes.data(), bytes.size())));
  return 0;
}
