// Managed memory: written and read by program and kernels in turn, a variable of the module,
// copies, fills, prefetches and streams of its own.
#include <cstring>
#include <thread>

#include "tests/e2e/programs/expect.h"

__managed__ int counters[4] = {1, 2, 3, 4};
__managed__ int* list = nullptr;

__global__ void add(const int* a, const int* b, int* sum, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) sum[i] = a[i] + b[i];
}

__global__ void grow(int* data, int count, int by) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] += by;
  if (i == 0) {
    atomicAdd(&counters[0], 1);
    if (list != nullptr) list[0] += counters[3];
  }
}

constexpr int kCount = 1 << 20;  // 4 MiB
constexpr int kThreads = 256;
constexpr int kBlocks = kCount / kThreads;

void vectors() {
  int *a = nullptr, *b = nullptr, *sum = nullptr;
  CUDA_OK(cudaMallocManaged(&a, kCount * sizeof(int)));
  CUDA_OK(cudaMallocManaged(&b, kCount * sizeof(int)));
  CUDA_OK(cudaMallocManaged(&sum, kCount * sizeof(int)));
  for (int i = 0; i < kCount; i++) {
    a[i] = i;
    b[i] = 2 * i;
  }
  add<<<kBlocks, kThreads>>>(a, b, sum, kCount);
  CUDA_OK(cudaDeviceSynchronize());
  for (int i = 0; i < kCount; i++) EXPECT(sum[i] == 3 * i);
  // One word far inside, then the same again.
  b[777'777] = 5;
  add<<<kBlocks, kThreads>>>(a, b, sum, kCount);
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(sum[777'777] == 777'782 && sum[777'776] == 3 * 777'776 &&
         sum[kCount - 1] == 3 * (kCount - 1));
  CUDA_OK(cudaFree(a));
  CUDA_OK(cudaFree(b));
  CUDA_OK(cudaFree(sum));
}

void variables() {
  EXPECT(counters[0] == 1 && counters[3] == 4 && list == nullptr);
  counters[3] = 40;
  CUDA_OK(cudaMallocManaged(&list, 100));
  list[0] = 2;
  list[1] = 77;
  int* data = nullptr;
  CUDA_OK(cudaMallocManaged(&data, 4));
  *data = 8;
  grow<<<1, 1>>>(data, 1, 3);
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(*data == 11 && counters[0] == 2 && counters[1] == 2 && list[0] == 42 && list[1] == 77);
  CUDA_OK(cudaFree(data));
  CUDA_OK(cudaFree(list));
  list = nullptr;
}

void copies() {
  const std::size_t bytes = kCount * sizeof(int);
  int *managed = nullptr, *other = nullptr, *device = nullptr;
  std::vector<int> host(kCount);
  CUDA_OK(cudaMallocManaged(&managed, bytes));
  CUDA_OK(cudaMallocManaged(&other, bytes));
  CUDA_OK(cudaMalloc(&device, bytes));
  for (int i = 0; i < kCount; i++) managed[i] = i ^ 5;
  CUDA_OK(cudaMemcpy(device, managed, bytes, cudaMemcpyHostToDevice));
  grow<<<kBlocks, kThreads>>>(device, kCount, 1);
  CUDA_OK(cudaMemcpy(other, device, bytes, cudaMemcpyDefault));
  for (int i = 0; i < kCount; i++) EXPECT(other[i] == (i ^ 5) + 1 && managed[i] == (i ^ 5));
  CUDA_OK(cudaMemset(managed, 0, bytes));
  EXPECT(managed[0] == 0 && managed[kCount - 1] == 0);
  managed[100] = 9;
  CUDA_OK(cudaMemcpy(host.data(), managed, bytes, cudaMemcpyDeviceToHost));
  EXPECT(host[100] == 9 && host[101] == 0);
  host[7] = 70;
  CUDA_OK(cudaMemcpy(other, host.data(), bytes, cudaMemcpyHostToDevice));
  EXPECT(other[7] == 70 && other[100] == 9 && other[8] == 0);
  CUDA_OK(cudaMemcpy2D(other, 64, managed, 128, 32, 100, cudaMemcpyDefault));
  EXPECT(other[7] == 0);
  CUDA_OK(cudaFree(managed));
  CUDA_OK(cudaFree(other));
  CUDA_OK(cudaFree(device));
}

// Each thread has a stream and memory attached to it, and works on both sides of it.
void attached() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([t] {
      cudaStream_t stream;
      CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
      int* data = nullptr;
      const int count = 50'000 + t;
      CUDA_OK(cudaMallocManaged(&data, count * sizeof(int), cudaMemAttachHost));
      for (int i = 0; i < count; i++) data[i] = i + t;
      CUDA_OK(cudaStreamAttachMemAsync(stream, data));
      CUDA_OK(cudaStreamSynchronize(stream));
      for (int round = 0; round < 5; round++) {
        grow<<<(count + kThreads - 1) / kThreads, kThreads, 0, stream>>>(data, count, 1);
        CUDA_OK(cudaStreamSynchronize(stream));
        for (int i = 0; i < count; i += 999) data[i] += 10;
      }
      for (int i = 0; i < count; i++) EXPECT(data[i] == i + t + 5 + (i % 999 == 0 ? 50 : 0));
      CUDA_OK(cudaFree(data));
      CUDA_OK(cudaStreamDestroy(stream));
    });
  }
  for (auto& each : threads) each.join();
}

void advice() {
  const std::size_t bytes = 1 << 20;
  char* data = nullptr;
  CUDA_OK(cudaMallocManaged(&data, bytes));
  std::memset(data, 3, bytes);
  const cudaMemLocation gpu{cudaMemLocationTypeDevice, 0};
  const cudaMemLocation cpu{cudaMemLocationTypeHost, 0};
  CUDA_OK(cudaMemAdvise(data, bytes, cudaMemAdviseSetPreferredLocation, gpu));
  CUDA_OK(cudaMemPrefetchAsync(data, bytes, gpu, 0));
  grow<<<1, 1>>>(reinterpret_cast<int*>(data), 1, 1);
  CUDA_OK(cudaMemPrefetchAsync(data, bytes, cpu, 0));
  CUDA_OK(cudaDeviceSynchronize());
  EXPECT(data[0] == 4 && data[bytes - 1] == 3);
  // What the system call reads has been brought here.
  std::FILE* sink = std::fopen("/dev/null", "wb");
  EXPECT(sink != nullptr && std::fwrite(data, 1, bytes, sink) == bytes && std::fflush(sink) == 0);
  std::fclose(sink);
  cudaPointerAttributes about{};
  CUDA_OK(cudaPointerGetAttributes(&about, data));
  EXPECT(about.type == cudaMemoryTypeManaged && about.hostPointer == data &&
         about.devicePointer == data);
  CUDA_OK(cudaFree(data));
}

int main() {
  int managed = 0;
  CUDA_OK(cudaDeviceGetAttribute(&managed, cudaDevAttrManagedMemory, 0));
  EXPECT(managed == 1);
  vectors();
  variables();
  copies();
  attached();
  advice();
  std::printf("managed_memory: %d numbers, counter %d\n", kCount, counters[0]);
  return 0;
}
