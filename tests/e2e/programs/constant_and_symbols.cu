// __constant__ and __device__ variables: written and read by name, by address and by kernels.
#include "tests/e2e/programs/expect.h"

__constant__ float weights[9];
__constant__ int preset[4] = {2, 3, 5, 7};
__device__ int counter = 41;
__device__ double table[3] = {0.5, 0.25, 0.125};
__device__ int* pointer_to_counter = &counter;

__global__ void use(float* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i == 0) {
    *pointer_to_counter += 1;
    table[1] = table[0] + preset[3];
  }
  if (i < count) {
    float sum = 0;
    for (int k = 0; k < 9; k++) sum += weights[k] * static_cast<float>(i + preset[k % 4]);
    out[i] = sum;
  }
}

int main() {
  float host_weights[9];
  for (int k = 0; k < 9; k++) host_weights[k] = static_cast<float>(k - 4);
  CUDA_OK(cudaMemcpyToSymbol(weights, host_weights, sizeof host_weights));
  const int replacement = 11;
  CUDA_OK(cudaMemcpyToSymbol(preset, &replacement, sizeof replacement, sizeof(int)));  // preset[1]

  const int count = 500;
  float* out = nullptr;
  CUDA_OK(cudaMalloc(&out, count * sizeof(float)));
  use<<<4, 128>>>(out, count);
  CUDA_OK(cudaGetLastError());
  std::vector<float> result = to_host(out, count);
  const int now[4] = {2, 11, 5, 7};
  for (int i = 0; i < count; i++) {
    float expected = 0;
    for (int k = 0; k < 9; k++) expected += host_weights[k] * static_cast<float>(i + now[k % 4]);
    EXPECT(result[i] == expected);
  }

  int counted = 0;
  double row[3];
  CUDA_OK(cudaMemcpyFromSymbol(&counted, counter, sizeof counted));
  CUDA_OK(cudaMemcpyFromSymbol(row, table, sizeof row));
  EXPECT(counted == 42 && row[0] == 0.5 && row[1] == 7.5 && row[2] == 0.125);

  void* address = nullptr;
  std::size_t bytes = 0;
  CUDA_OK(cudaGetSymbolAddress(&address, table));
  CUDA_OK(cudaGetSymbolSize(&bytes, table));
  EXPECT(address != nullptr && bytes == sizeof row);
  const double changed = 9.0;
  CUDA_OK(cudaMemcpy(address, &changed, sizeof changed, cudaMemcpyHostToDevice));
  CUDA_OK(cudaMemcpyFromSymbol(row, table, sizeof(double)));
  EXPECT(row[0] == 9.0);
  CUDA_OK(cudaFree(out));
  std::printf("constant_and_symbols: counter %d, table %.2f %.2f %.3f\n", counted, row[0], row[1],
              row[2]);
  return 0;
}
