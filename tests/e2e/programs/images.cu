// One program for every way nvcc can pack its code: architectures, compression, shared cudart.
// The CMakeLists builds it several times; each must compute the same.
#include "tests/e2e/programs/expect.h"

struct Wide {  // a parameter larger than a register, passed by value
  double scale[3];
  int offsets[5];
};

__global__ void blend(Wide wide, const float* in, float* out, short count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) {
    out[i] = static_cast<float>(in[i] * wide.scale[i % 3] + wide.offsets[i % 5]);
  }
}

template <int kPower>
__global__ void raise(float* values, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float result = 1;
  for (int k = 0; k < kPower; k++) result *= values[i];
  values[i] = result;
}

int main() {
  const short count = 999;
  std::vector<float> in(count);
  for (int i = 0; i < count; i++) in[i] = static_cast<float>(i % 16);
  const Wide wide = {{0.5, 1.0, 2.0}, {1, 2, 3, 4, 5}};
  float* device_in = to_device(in);
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, count * sizeof(float)));
  blend<<<8, 128>>>(wide, device_in, out, count);
  raise<2><<<8, 128>>>(out, count);
  raise<1><<<8, 128>>>(out, count);
  CUDA_OK(cudaGetLastError());
  std::vector<float> result = to_host(out, count);
  double sum = 0;
  for (int i = 0; i < count; i++) {
    const float blended = static_cast<float>(in[i] * wide.scale[i % 3] + wide.offsets[i % 5]);
    EXPECT(result[i] == blended * blended);
    sum += result[i];
  }
  CUDA_OK(cudaFree(device_in));
  CUDA_OK(cudaFree(out));
  std::printf("images: %d elements, sum %.2f\n", count, sum);
  return 0;
}
