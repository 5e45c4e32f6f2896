// Pool: a stream-ordered memory pool. Memory comes from the device at once and goes back when the
// free takes its turn; the pool itself keeps nothing, so its attributes count what is in use.
//
// A device that is let into a pool may touch all that the pool's device has given out
// (Memory::allow): more than CUDA says, so that a fault may be missed but never made up.
//
// Owner: handle table, and what was allocated from it: a pool that is destroyed lasts, with what it
// lets others touch, until the last of its memory is freed. The device's default pool lives as long
// as its context's device.
// Threads: any.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>

#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Device;

struct Pool {
  explicit Pool(Device& owner) : device(owner) {}
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  // What `peer`, which is not the owner, may do from now on.
  void set_access(Device& peer, CUmemAccess_flags access);
  CUmemAccess_flags access(Device& peer);

  Device& device;
  std::atomic<std::uint64_t> release_threshold{0};
  std::atomic<int> reuse_follow_event{1};
  std::atomic<int> reuse_opportunistic{1};
  std::atomic<int> reuse_internal{1};
  std::atomic<std::uint64_t> used_high{0};
  Guarded<std::map<Device*, CUmemAccess_flags>> peers;  // those with any access
  CUmemoryPool handle() { return reinterpret_cast<CUmemoryPool>(this); }
};

}  // namespace farcall::softgpu
