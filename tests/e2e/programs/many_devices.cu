// Every device a program has, on one server or several: memory, kernels, variables, streams and
// events of each, copies between them, and one thread for each.
//
//   many_devices COUNT          expects so many devices
//   many_devices COUNT copying  … copies from the last device until it is gone; the others go on
//   many_devices COUNT lost     … waits for a line on its input, after which the last device is
//                               gone and the others must go on
#include <cstring>
#include <thread>

#include "tests/e2e/programs/expect.h"

__device__ int offset;  // another value on each device

__global__ void add(const int* in, int* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = in[i] + offset;
}

__global__ void slow_fill(int* out, int count, int value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned spun = value;
  for (int k = 0; k < 2000; k++) spun = spun * 1664525u + 1013904223u;
  if (i < count) out[i] = spun == 12345u ? 0 : value;
}

constexpr int kCount = 3 << 20;  // 12 MiB: more than one piece of a copy through the client

struct Part {
  int* in = nullptr;
  int* out = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t done = nullptr;
};

void set_up(int device, Part* part) {
  CUDA_OK(cudaSetDevice(device));
  CUDA_OK(cudaMalloc(&part->in, kCount * sizeof(int)));
  CUDA_OK(cudaMalloc(&part->out, kCount * sizeof(int)));
  CUDA_OK(cudaStreamCreateWithFlags(&part->stream, cudaStreamNonBlocking));
  CUDA_OK(cudaEventCreateWithFlags(&part->done, cudaEventDisableTiming));
  const int mine = 100 * (device + 1);
  CUDA_OK(cudaMemcpyToSymbol(offset, &mine, sizeof mine));
  cudaPointerAttributes about{};
  CUDA_OK(cudaPointerGetAttributes(&about, part->in));
  EXPECT(about.type == cudaMemoryTypeDevice && about.device == device);
}

void expect_all(const int* device, int first, int step) {
  const std::vector<int> host = to_host(device, kCount);
  for (int i = 0; i < kCount; i++) EXPECT(host[i] == first + step * i);
}

void add_on(int device, const Part& part) {
  CUDA_OK(cudaSetDevice(device));
  std::vector<int> numbers(kCount);
  for (int i = 0; i < kCount; i++) numbers[i] = i;
  CUDA_OK(cudaMemcpyAsync(part.in, numbers.data(), kCount * sizeof(int), cudaMemcpyHostToDevice,
                          part.stream));
  add<<<(kCount + 255) / 256, 256, 0, part.stream>>>(part.in, part.out, kCount);
  CUDA_OK(cudaGetLastError());
  CUDA_OK(cudaStreamSynchronize(part.stream));
  expect_all(part.out, 100 * (device + 1), 1);
}

// What `from` holds goes to `to`, by every call that copies between devices.
void copy_between(int to, const Part& target, int from, const Part& source) {
  const std::size_t bytes = kCount * sizeof(int);
  CUDA_OK(cudaMemcpyPeer(target.in, to, source.out, from, bytes));
  CUDA_OK(cudaDeviceSynchronize());
  expect_all(target.in, 100 * (from + 1), 1);
  CUDA_OK(cudaSetDevice(from));
  slow_fill<<<(kCount + 255) / 256, 256, 0, source.stream>>>(source.in, kCount, 7 + from);
  CUDA_OK(cudaMemcpyPeerAsync(target.in, to, source.in, from, bytes, source.stream));
  CUDA_OK(cudaStreamSynchronize(source.stream));
  expect_all(target.in, 7 + from, 0);
  CUDA_OK(cudaMemcpy(target.in, source.out, bytes, cudaMemcpyDefault));
  CUDA_OK(cudaDeviceSynchronize());
  expect_all(target.in, 100 * (from + 1), 1);
}

// A stream of one device waits for an event of the other.
void wait_across(int to, const Part& target, int from, const Part& source) {
  CUDA_OK(cudaSetDevice(from));
  slow_fill<<<(kCount + 255) / 256, 256, 0, source.stream>>>(source.in, kCount, 40 + from);
  CUDA_OK(cudaEventRecord(source.done, source.stream));
  CUDA_OK(cudaSetDevice(to));
  CUDA_OK(cudaStreamWaitEvent(target.stream, source.done, 0));
  CUDA_OK(cudaMemcpyPeerAsync(target.in, to, source.in, from, kCount * sizeof(int), target.stream));
  add<<<(kCount + 255) / 256, 256, 0, target.stream>>>(target.in, target.out, kCount);
  CUDA_OK(cudaGetLastError());
  CUDA_OK(cudaStreamSynchronize(target.stream));
  expect_all(target.out, 40 + from + 100 * (to + 1), 0);
}

void between_all(const std::vector<Part>& parts) {
  const int count = static_cast<int>(parts.size());
  for (int from = 0; from < count; from++) {
    const int to = (from + 1) % count;
    if (to == from) continue;
    add_on(from, parts[from]);
    copy_between(to, parts[to], from, parts[from]);
    wait_across(to, parts[to], from, parts[from]);
    int can = -1;
    CUDA_OK(cudaDeviceCanAccessPeer(&can, to, from));
    EXPECT(can == 0 || can == 1);
    CUDA_OK(cudaSetDevice(to));
    if (can == 0) EXPECT(cudaDeviceEnablePeerAccess(from, 0) == cudaErrorPeerAccessUnsupported);
    cudaGetLastError();
  }
}

// Waits until somebody has taken the last device away.
int go_on_without_the_last(const std::vector<Part>& parts) {
  const int last = static_cast<int>(parts.size()) - 1;
  std::printf("ready\n");
  std::fflush(stdout);
  std::getchar();
  CUDA_OK(cudaSetDevice(last));
  EXPECT(cudaDeviceSynchronize() != cudaSuccess);
  int* more = nullptr;
  EXPECT(cudaMalloc(&more, 64) != cudaSuccess);
  cudaGetLastError();
  for (int device = 0; device < last; device++) add_on(device, parts[device]);
  std::printf("the others go on\n");
  return 0;
}

int copy_until_the_last_is_gone(const std::vector<Part>& parts) {
  const int last = static_cast<int>(parts.size()) - 1;
  std::printf("ready\n");
  std::fflush(stdout);
  while (cudaMemcpyPeer(parts[0].in, 0, parts[last].out, last, kCount * sizeof(int)) ==
         cudaSuccess) {
  }
  cudaGetLastError();
  for (int device = 0; device < last; device++) add_on(device, parts[device]);
  std::printf("the others go on\n");
  return 0;
}

int main(int argc, char** argv) {
  int count = 0;
  CUDA_OK(cudaGetDeviceCount(&count));
  EXPECT(argc < 2 || count == std::atoi(argv[1]));
  std::vector<Part> parts(count);
  for (int device = 0; device < count; device++) {
    cudaDeviceProp properties{};
    CUDA_OK(cudaGetDeviceProperties(&properties, device));
    char bus_id[32];
    int by_bus_id = -1;
    CUDA_OK(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device));
    CUDA_OK(cudaDeviceGetByPCIBusId(&by_bus_id, bus_id));
    EXPECT(by_bus_id == device);
    set_up(device, &parts[device]);
  }
  for (int device = 0; device < count; device++) add_on(device, parts[device]);
  if (argc > 2 && std::strcmp(argv[2], "copying") == 0) return copy_until_the_last_is_gone(parts);
  if (argc > 2) return go_on_without_the_last(parts);
  between_all(parts);

  std::vector<std::thread> threads;
  for (int device = 0; device < count; device++) {
    threads.emplace_back([&, device] {
      for (int round = 0; round < 3; round++) add_on(device, parts[device]);
    });
  }
  for (std::thread& thread : threads) thread.join();

  // Whatever device is current, things of all of them can be waited for and given back.
  CUDA_OK(cudaSetDevice(0));
  for (Part& part : parts) {
    CUDA_OK(cudaStreamSynchronize(part.stream));
    CUDA_OK(cudaEventSynchronize(part.done));
    CUDA_OK(cudaFree(part.in));
    CUDA_OK(cudaFree(part.out));
    CUDA_OK(cudaEventDestroy(part.done));
    CUDA_OK(cudaStreamDestroy(part.stream));
  }
  std::printf("%d devices\n", count);
  return 0;
}
