// Host memory that kernels reach: mapped when it was allocated, asked for later, and registered.
#include <sys/mman.h>

#include "tests/e2e/programs/expect.h"

__global__ void twice(const int* in, int* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = 2 * in[i];
}

// Waits for a word of the program's, then answers beside it.
__global__ void answer(volatile int* words) {
  while (words[0] == 0) {
  }
  words[1] = words[0] + words[2];
}

// A kernel that is held up by the program, which has work behind it to wait for.
void hold_up_a_kernel() {
  int *words = nullptr, *after = nullptr;
  CUDA_OK(cudaMallocHost(&words, 3 * sizeof(int)));
  CUDA_OK(cudaMalloc(&after, sizeof(int)));
  for (int round = 1; round <= 2; round++) {
    words[0] = words[1] = 0;
    words[2] = 100 * round;
    answer<<<1, 1>>>(words);
    CUDA_OK(cudaMemcpyAsync(after, words + 1, sizeof(int), cudaMemcpyDefault));
    words[0] = round;
    CUDA_OK(cudaDeviceSynchronize());
    EXPECT(words[1] == 101 * round);
  }
  CUDA_OK(cudaFreeHost(words));
  CUDA_OK(cudaFree(after));
}

// The program's own memory, in two pieces that lie side by side: copies go over both, the device's
// address of each is known for what it is, and all of it outlives the device's state.
void register_in_pieces() {
  constexpr int kCount = 1 << 18;
  constexpr std::size_t kBytes = kCount * sizeof(int);
  void* room =
      mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(room != MAP_FAILED);
  int* host = static_cast<int*>(room);
  int* device[2] = {};
  for (int piece = 0; piece < 2; piece++) {
    CUDA_OK(cudaHostRegister(host + piece * kCount, kBytes, cudaHostRegisterMapped));
    CUDA_OK(cudaHostGetDevicePointer(&device[piece], host + piece * kCount, 0));
  }
  for (int i = 0; i < kCount; i++) host[i] = i;
  twice<<<kCount / 256, 256>>>(device[0], device[1], kCount);
  int* copy = nullptr;
  CUDA_OK(cudaMalloc(&copy, 2 * kBytes));
  CUDA_OK(cudaMemcpy(copy, host, 2 * kBytes, cudaMemcpyHostToDevice));
  CUDA_OK(cudaMemset(copy + kCount, 0, 4));
  twice<<<kCount / 256, 256>>>(device[0], device[1], kCount);
  CUDA_OK(cudaMemcpy(host, copy, 2 * kBytes, cudaMemcpyDeviceToHost));
  EXPECT(host[7] == 7 && host[kCount] == 0 && host[kCount + 7] == 14);
  cudaPointerAttributes about{};
  CUDA_OK(cudaPointerGetAttributes(&about, device[1] + 3));
  EXPECT(about.type == cudaMemoryTypeHost && about.hostPointer == host + kCount + 3);
  CUDA_OK(cudaMemcpy(copy, device[1] + 1, 4, cudaMemcpyDefault));
  int seen = 0;
  CUDA_OK(cudaMemcpy(&seen, copy, 4, cudaMemcpyDefault));
  EXPECT(seen == 2);
  twice<<<kCount / 256, 256>>>(device[0], device[1], kCount);
  CUDA_OK(cudaDeviceReset());
  EXPECT(host[kCount] == 0 && host[2 * kCount - 1] == 2 * (kCount - 1));
  host[0] = 1;
  CUDA_OK(cudaMalloc(&copy, kBytes));
  CUDA_OK(cudaMemset(copy, 1, kBytes));
  twice<<<kCount / 256, 256>>>(copy, copy, kCount);
  CUDA_OK(cudaDeviceSynchronize());
}

int main() {
  constexpr int kCount = 100'000;
  constexpr std::size_t kBytes = kCount * sizeof(int);
  cudaDeviceProp device{};
  CUDA_OK(cudaGetDeviceProperties(&device, 0));
  EXPECT(device.canMapHostMemory == 1);
  for (unsigned flags : {unsigned{cudaHostAllocMapped}, unsigned{cudaHostAllocDefault}}) {
    int *in = nullptr, *out = nullptr, *device_in = nullptr, *device_out = nullptr;
    CUDA_OK(cudaHostAlloc(&in, kBytes, flags));
    CUDA_OK(cudaHostAlloc(&out, kBytes, flags));
    for (int i = 0; i < kCount; i++) in[i] = i;
    CUDA_OK(cudaHostGetDevicePointer(&device_in, in, 0));
    CUDA_OK(cudaHostGetDevicePointer(&device_out, out, 0));
    for (int round = 1; round <= 3; round++) {
      twice<<<(kCount + 255) / 256, 256>>>(device_in, device_out, kCount);
      CUDA_OK(cudaDeviceSynchronize());
      for (int i = 0; i < kCount; i++) EXPECT(out[i] == 2 * (i + (round - 1) * (i % 3 == 0)));
      for (int i = 0; i < kCount; i += 3) in[i]++;
    }
    // Copies see what the kernels left.
    std::vector<int> copy(kCount);
    CUDA_OK(cudaMemcpy(copy.data(), out, kBytes, cudaMemcpyDefault));
    EXPECT(copy[3] == 10 && copy[4] == 8);
    cudaPointerAttributes about{};
    CUDA_OK(cudaPointerGetAttributes(&about, in));
    EXPECT(about.type == cudaMemoryTypeHost && about.devicePointer == device_in);
    unsigned seen = 0;
    CUDA_OK(cudaHostGetFlags(&seen, in));
    EXPECT((seen & cudaHostAllocMapped) != 0);
    CUDA_OK(cudaFreeHost(in));
    CUDA_OK(cudaFreeHost(out));
  }
  hold_up_a_kernel();
  register_in_pieces();
  std::printf("mapped_memory: %d numbers\n", kCount);
  return 0;
}
