// The heap behind malloc and free in kernels.
//
// Blocks come from device memory and are known here, so that a kernel cannot free what the host
// allocated, nor the other way round. What kernels leave behind lives until the engine goes.
// Owner: Engine.  Threads: any.
#pragma once
#include <cstdint>
#include <set>

#include "gpu_server/software_gpu/exec/memory.h"
#include "transport/base/guarded.h"

namespace farcall::softgpu {

class Heap {
 public:
  explicit Heap(Memory& memory) : memory_(memory) {}
  ~Heap() {
    for (const std::uint64_t block : *blocks_.lock()) (void)memory_.release(block);
  }
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // 0 when there is no room or too many blocks.
  std::uint64_t allocate(std::uint64_t bytes) {
    auto blocks = blocks_.lock();
    if (bytes == 0 || blocks->size() >= kBlocksMax) return 0;
    const Result<std::uint64_t> block = memory_.allocate(bytes);
    if (!block.ok()) return 0;
    blocks->insert(block.value());
    return block.value();
  }
  bool release(std::uint64_t block) {
    if (blocks_.lock()->erase(block) == 0) return false;
    return memory_.release(block).ok();
  }

 private:
  static constexpr std::size_t kBlocksMax = 1 << 20;  // each costs the host a page table entry
  Memory& memory_;
  Guarded<std::set<std::uint64_t>> blocks_;
};

}  // namespace farcall::softgpu
