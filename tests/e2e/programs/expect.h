// What the test programs share: stop by name when CUDA or a result is wrong, and the same random
// numbers everywhere.
//
//   CUDA_OK(cudaMalloc(&data, bytes));       // prints the error's name and exits with 1
//   EXPECT(sum == expected);                 // prints the condition and exits with 1
//   Random random(7);  float x = random.unit();
//
// The programs print results only, never times or addresses: their output must be the same on every
// device.  Owner: plain values.  Threads: any.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CUDA_OK(call)                                                                      \
  do {                                                                                     \
    cudaError_t error_ = (call);                                                           \
    if (error_ != cudaSuccess) {                                                           \
      std::printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(error_)); \
      std::exit(1);                                                                        \
    }                                                                                      \
  } while (false)

#define EXPECT(condition)                                                 \
  do {                                                                    \
    if (!(condition)) {                                                   \
      std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                       \
    }                                                                     \
  } while (false)

// A linear congruential generator: good enough for test data, the same on every machine.
struct Random {
  explicit Random(std::uint64_t seed) : state(seed * 2654435761u + 1) {}
  std::uint32_t next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state >> 33);
  }
  float unit() { return static_cast<float>(next() & 0xffffff) / 16777216.0f; }  // [0, 1)
  std::uint64_t state;
};

// Device memory that holds a copy of `host`.
template <class T>
T* to_device(const std::vector<T>& host) {
  T* device = nullptr;
  CUDA_OK(cudaMalloc(&device, host.size() * sizeof(T)));
  CUDA_OK(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  return device;
}

template <class T>
std::vector<T> to_host(const T* device, std::size_t count) {
  std::vector<T> host(count);
  CUDA_OK(cudaMemcpy(host.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
  return host;
}

// FNV-1a: one number that says whether two outputs are the same.
inline std::uint64_t checksum(const void* bytes, std::size_t count) {
  std::uint64_t hash = 14695981039346656037u;
  for (std::size_t i = 0; i < count; i++) {
    hash = (hash ^ static_cast<const unsigned char*>(bytes)[i]) * 1099511628211u;
  }
  return hash;
}
