// Page-locked memory that kernels use where it is: as it was allocated, inside a structure, in a
// pool whose other parts take part in copies, in a captured graph; and registered memory.
#include <sys/mman.h>

#include <thread>

#include "tests/e2e/programs/expect.h"

struct Pair {
  int count;
  const int* in;
  int* out;
};

__global__ void twice(const int* in, int* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = 2 * in[i];
}

__global__ void thrice(Pair pair) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < pair.count) pair.out[i] = 3 * pair.in[i];
}

constexpr int kCount = 200'000;
constexpr std::size_t kBytes = kCount * sizeof(int);
constexpr int kBlocks = (kCount + 255) / 256;

void plain() {
  int *in = nullptr, *out = nullptr;
  CUDA_OK(cudaMallocHost(&in, kBytes));
  CUDA_OK(cudaMallocHost(&out, kBytes));
  for (int i = 0; i < kCount; i++) in[i] = i;
  twice<<<kBlocks, 256>>>(in, out, kCount);
  CUDA_OK(cudaDeviceSynchronize());
  for (int i = 0; i < kCount; i++) EXPECT(out[i] == 2 * i);
  in[7] = 700;
  thrice<<<kBlocks, 256>>>(Pair{kCount, in, out});
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(out[7] == 2100 && out[8] == 24 && out[kCount - 1] == 3 * (kCount - 1));
  cudaPointerAttributes about{};
  CUDA_OK(cudaPointerGetAttributes(&about, in));
  EXPECT(about.type == cudaMemoryTypeHost && about.devicePointer == in);
  CUDA_OK(cudaFreeHost(in));
  CUDA_OK(cudaFreeHost(out));
}

// Threads copy in parts of their own while kernels work in another.
void pool() {
  constexpr int kParts = 3;
  int* memory = nullptr;
  CUDA_OK(cudaMallocHost(&memory, (kParts + 2) * kBytes));
  std::vector<std::thread> threads;
  for (int part = 0; part < kParts; part++) {
    threads.emplace_back([=] {
      int* host = memory + part * kCount;
      int* device = nullptr;
      cudaStream_t stream;
      CUDA_OK(cudaStreamCreate(&stream));
      CUDA_OK(cudaMalloc(&device, kBytes));
      for (int round = 0; round < 10; round++) {
        for (int i = 0; i < kCount; i += 500) host[i] = i + round;
        CUDA_OK(cudaMemcpyAsync(device, host, kBytes, cudaMemcpyHostToDevice, stream));
        CUDA_OK(cudaStreamSynchronize(stream));
        for (int i = 0; i < kCount; i += 500) host[i] = -1;
        CUDA_OK(cudaMemcpyAsync(host, device, kBytes, cudaMemcpyDeviceToHost, stream));
        CUDA_OK(cudaStreamSynchronize(stream));
        for (int i = 0; i < kCount; i += 500) EXPECT(host[i] == i + round);
      }
      CUDA_OK(cudaFree(device));
      CUDA_OK(cudaStreamDestroy(stream));
    });
  }
  int* in = memory + kParts * kCount;
  int* out = in + kCount;
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < kCount; i++) in[i] = i + round;
    twice<<<kBlocks, 256>>>(in, out, kCount);
    CUDA_OK(cudaDeviceSynchronize());
    for (int i = 0; i < kCount; i++) EXPECT(out[i] == 2 * (i + round));
  }
  for (auto& each : threads) each.join();
  CUDA_OK(cudaFreeHost(memory));
}

void captured() {
  int *in = nullptr, *out = nullptr;
  CUDA_OK(cudaMallocHost(&in, kBytes));
  CUDA_OK(cudaMallocHost(&out, kBytes));
  cudaStream_t stream;
  CUDA_OK(cudaStreamCreate(&stream));
  CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  twice<<<kBlocks, 256, 0, stream>>>(in, out, kCount);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CUDA_OK(cudaStreamEndCapture(stream, &graph));
  CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < kCount; i++) in[i] = i - round;
    CUDA_OK(cudaGraphLaunch(exec, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    for (int i = 0; i < kCount; i++) EXPECT(out[i] == 2 * (i - round));
  }
  CUDA_OK(cudaGraphExecDestroy(exec));
  CUDA_OK(cudaGraphDestroy(graph));
  CUDA_OK(cudaStreamDestroy(stream));
  CUDA_OK(cudaFreeHost(in));
  CUDA_OK(cudaFreeHost(out));
}

void registered() {
  constexpr std::size_t kPages = (kBytes + 4095) / 4096 * 4096;
  void* own = mmap(nullptr, kPages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(own != MAP_FAILED);
  int* data = static_cast<int*>(own);
  for (int i = 0; i < kCount; i++) data[i] = i;
  CUDA_OK(cudaHostRegister(own, kPages, cudaHostRegisterMapped));
  int* device = nullptr;
  CUDA_OK(cudaHostGetDevicePointer(&device, own, 0));
  twice<<<kBlocks, 256>>>(device, device, kCount);
  CUDA_OK(cudaDeviceSynchronize());
  for (int i = 0; i < kCount; i++) EXPECT(data[i] == 2 * i);
  data[5] = 50;
  twice<<<kBlocks, 256>>>(device, device, kCount);
  CUDA_OK(cudaHostUnregister(own));
  EXPECT(data[5] == 100 && data[6] == 24);
  EXPECT(munmap(own, kPages) == 0);
}

int main() {
  plain();
  pool();
  captured();
  registered();
  std::printf("pinned_kernels: %d numbers\n", kCount);
  return 0;
}
