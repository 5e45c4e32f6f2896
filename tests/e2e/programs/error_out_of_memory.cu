// Asks for more memory than there is: refused, and what fits still fits.
#include "tests/e2e/programs/expect.h"

int main() {
  std::size_t available = 0, total = 0;
  CUDA_OK(cudaMemGetInfo(&available, &total));
  EXPECT(available > 0 && available <= total);
  void* memory = nullptr;
  cudaError_t error = cudaMalloc(&memory, total + (1u << 30));
  std::printf("error_out_of_memory: more than all: %s\n", cudaGetErrorName(error));
  EXPECT(error == cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError() == cudaSuccess);  // it does not stick
  error = cudaMalloc(&memory, static_cast<std::size_t>(1) << 60);
  std::printf("error_out_of_memory: an exbibyte: %s\n", cudaGetErrorName(error));
  EXPECT(error == cudaErrorMemoryAllocation);
  cudaGetLastError();

  // Half of what is free twice over does not fit; one half does.
  void* half = nullptr;
  CUDA_OK(cudaMalloc(&half, available / 2));
  std::size_t left = 0;
  CUDA_OK(cudaMemGetInfo(&left, &total));
  EXPECT(left <= available - available / 2);
  error = cudaMalloc(&memory, left + 4096);
  std::printf("error_out_of_memory: the rest and a page: %s\n", cudaGetErrorName(error));
  EXPECT(error == cudaErrorMemoryAllocation);
  CUDA_OK(cudaFree(half));
  cudaGetLastError();
  CUDA_OK(cudaMalloc(&memory, 1 << 20));
  CUDA_OK(cudaMemset(memory, 1, 1 << 20));
  CUDA_OK(cudaFree(memory));
  EXPECT(cudaFree(memory) == cudaErrorInvalidValue);
  std::printf("error_out_of_memory: a second free: %s\n", cudaGetErrorName(cudaGetLastError()));
  return 0;
}
