// Names that are not there: symbols and kernels the device does not know.
#include "tests/e2e/programs/expect.h"

__device__ int known = 3;

int main() {
  int host = 0;
  CUDA_OK(cudaMemcpyFromSymbol(&host, known, sizeof host));
  EXPECT(host == 3);
  static int not_a_symbol = 0;
  cudaError_t error = cudaMemcpyFromSymbol(&host, &not_a_symbol, sizeof host);
  std::printf("error_missing_symbol: a host variable: %s\n", cudaGetErrorName(error));
  EXPECT(error == cudaErrorInvalidSymbol);
  void* address = nullptr;
  error = cudaGetSymbolAddress(&address, &not_a_symbol);
  EXPECT(error == cudaErrorInvalidSymbol);
  cudaGetLastError();

  // Not found, told by the error or by the answer: drivers differ.
  void* call = nullptr;
  cudaDriverEntryPointQueryResult found{};
  error = cudaGetDriverEntryPointByVersion("cuNoSuchCall", &call, 13000, cudaEnableDefault, &found);
  EXPECT(error != cudaSuccess || found == cudaDriverEntryPointSymbolNotFound);
  EXPECT(call == nullptr);
  cudaGetLastError();
  error = cudaMemcpyToSymbol(known, &host, sizeof host, 4);
  std::printf("error_missing_symbol: beyond its end: %s\n", cudaGetErrorName(error));
  EXPECT(error == cudaErrorInvalidValue);
  CUDA_OK(cudaDeviceSynchronize());
  return 0;
}
