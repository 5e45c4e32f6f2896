// Pool: a stream-ordered memory pool. Memory comes from the device at once and goes back when the
// free takes its turn; the pool itself keeps nothing, so its attributes count what is in use.
//
// Owner: handle table; the device's default pool lives as long as its context's device.
// Threads: any.
#pragma once
#include <atomic>
#include <cstdint>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Device;

struct Pool {
  explicit Pool(Device& owner) : device(owner) {}
  Device& device;
  std::atomic<std::uint64_t> release_threshold{0};
  std::atomic<int> reuse_follow_event{1};
  std::atomic<int> reuse_opportunistic{1};
  std::atomic<int> reuse_internal{1};
  std::atomic<std::uint64_t> used_high{0};
  CUmemoryPool handle() { return reinterpret_cast<CUmemoryPool>(this); }
};

}  // namespace farcall::softgpu
