// Carries a pattern to the device and back by every way data takes: what the capture test looks
// for.
//   carry_pattern TEXT      TEXT: 16 … 64 bytes, made by the test
#include <cstring>

#include "tests/e2e/programs/expect.h"

struct Text {
  char bytes[64];
};

// By value, as an argument; the name of the kernel is looked for too.
__global__ void kernel_name_that_must_not_be_seen(Text text, char* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = text.bytes[i % 64];
}

__constant__ Text constant_text;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Text text{};
  std::strncpy(text.bytes, argv[1], sizeof text.bytes - 1);
  const int small = 256, large = 1 << 20;
  std::vector<char> many(large);
  for (int i = 0; i < large; i++) many[i] = text.bytes[i % 64];

  char *device_small = nullptr, *device_large = nullptr;
  CUDA_OK(cudaMalloc(&device_small, small));
  CUDA_OK(cudaMalloc(&device_large, large));
  CUDA_OK(cudaMemcpy(device_small, many.data(), small, cudaMemcpyHostToDevice));
  CUDA_OK(cudaMemcpy(device_large, many.data(), large, cudaMemcpyHostToDevice));
  EXPECT(to_host(device_small, small) == std::vector<char>(many.begin(), many.begin() + small));
  EXPECT(to_host(device_large, large) == many);
  CUDA_OK(cudaMemset(device_large, 0, large));
  kernel_name_that_must_not_be_seen<<<large / 256, 256>>>(text, device_large, large);
  EXPECT(to_host(device_large, large) == many);
  CUDA_OK(cudaMemcpyToSymbol(constant_text, &text, sizeof text));
  Text back{};
  CUDA_OK(cudaMemcpyFromSymbol(&back, constant_text, sizeof back));
  EXPECT(std::memcmp(&back, &text, sizeof text) == 0);
  CUDA_OK(cudaFree(device_small));
  CUDA_OK(cudaFree(device_large));
  std::printf("carry_pattern: carried\n");
  return 0;
}
