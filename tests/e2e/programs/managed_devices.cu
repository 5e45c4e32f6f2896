// Managed and page-locked memory of each device there is, used in turn, by calls that are made
// while another device is current. With devices of two servers (argument "apart") a kernel of one
// is refused managed memory of the other.
#include <cstring>

#include "tests/e2e/programs/expect.h"

__global__ void add(int* data, int count, int by) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] += by;
}

constexpr int kCount = 100'000;
constexpr std::size_t kBytes = kCount * sizeof(int);
constexpr int kBlocks = (kCount + 255) / 256;

int main(int argc, char** argv) {
  int devices = 0;
  CUDA_OK(cudaGetDeviceCount(&devices));
  std::vector<int*> managed(devices), pinned(devices);
  for (int d = 0; d < devices; d++) {
    CUDA_OK(cudaSetDevice(d));
    CUDA_OK(cudaMallocManaged(&managed[d], kBytes));
    CUDA_OK(cudaMallocHost(&pinned[d], kBytes));
    for (int i = 0; i < kCount; i++) managed[d][i] = pinned[d][i] = i + d;
  }
  for (int round = 1; round <= 2; round++) {
    for (int d = 0; d < devices; d++) {
      CUDA_OK(cudaSetDevice(d));
      add<<<kBlocks, 256>>>(managed[d], kCount, d + 1);
      add<<<kBlocks, 256>>>(pinned[d], kCount, d + 2);
      CUDA_OK(cudaDeviceSynchronize());
    }
    for (int d = 0; d < devices; d++) {
      for (int i = 0; i < kCount; i++) {
        EXPECT(managed[d][i] == i + d + round * (d + 1));
        EXPECT(pinned[d][i] == i + d + round * (d + 2));
      }
    }
  }
  // The last device is current.
  for (int d = 0; d < devices; d++) {
    const cudaMemLocation gpu{cudaMemLocationTypeDevice, d};
    CUDA_OK(cudaMemAdvise(managed[d], kBytes, cudaMemAdviseSetPreferredLocation, gpu));
  }
  CUDA_OK(cudaSetDevice(0));
  for (int d = 0; d < devices; d++) {
    int place = -5;
    CUDA_OK(cudaMemRangeGetAttribute(&place, sizeof place, cudaMemRangeAttributePreferredLocation,
                                     managed[d], kBytes));
    EXPECT(place == d);
    cudaPointerAttributes about{};
    CUDA_OK(cudaPointerGetAttributes(&about, managed[d]));
    EXPECT(about.type == cudaMemoryTypeManaged && about.device == d);
  }
  // From the memory of one to that of another.
  const int last = devices - 1;
  CUDA_OK(cudaMemcpy(managed[last], managed[0], kBytes, cudaMemcpyDefault));
  EXPECT(std::memcmp(managed[last], managed[0], kBytes) == 0);
  if (argc > 1 && std::strcmp(argv[1], "apart") == 0) {
    CUDA_OK(cudaSetDevice(0));
    add<<<kBlocks, 256>>>(managed[last], kCount, 1);
    EXPECT(cudaGetLastError() == cudaErrorNotSupported);
    CUDA_OK(cudaDeviceSynchronize());
    EXPECT(managed[last][5] == managed[0][5]);
  }
  for (int d = 0; d < devices; d++) {
    CUDA_OK(cudaFree(managed[d]));
    CUDA_OK(cudaFreeHost(pinned[d]));
  }
  std::printf("managed_devices: %d numbers\n", kCount);
  return 0;
}
