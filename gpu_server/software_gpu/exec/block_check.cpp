#include "gpu_server/software_gpu/exec/block_check.h"

#include <algorithm>

#include "gpu_server/software_gpu/exec/checker.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

bool is_part_of_word(Ty type) { return type <= Ty::kS16; }

// Whether threads of a block may share a word without sharing bytes.
bool touches_parts_of_words(const detail::KernelBody& kernel) {
  for (const auto& function : kernel.functions) {
    for (std::size_t n = 0; n < function->keys.size(); ++n) {
      const Op op = static_cast<Op>(function->keys[n] >> 16);
      const Space space = function->code[n].space;
      const bool shared = space == Space::kShared || space == Space::kGeneric;
      if ((op == Op::kLoad || op == Op::kStore || op == Op::kAtom) && shared &&
          is_part_of_word(static_cast<Ty>(function->keys[n] >> 8 & 0xff))) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

void begin_block_check(Worker& worker, BlockRun& block) {
  const LaunchState& launch = *worker.launch;
  if (block.check == nullptr) {
    block.check = std::make_unique<BlockCheck>();
    BlockCheck& made = *block.check;
    made.checker = launch.checker;
    made.own_shared_bytes =
        launch.reserved_offset != 0 ? launch.reserved_offset : launch.shared_bytes;
    made.shared.resize(launch.shared_bytes);
    made.local.resize(std::size_t{launch.local_stride} * kLanes * block.warp_count);
    if (made.checker->options().race && launch.shared_bytes != 0) {
      made.races.emplace(launch.warps, launch.shared_bytes,
                         touches_parts_of_words(*launch.kernel) ? 0u : 2u);
    }
  }
  BlockCheck& check = *block.check;
  if (check.races) check.races->barrier();
  const auto own_end = check.shared.begin() + check.own_shared_bytes;
  std::fill(check.shared.begin(), own_end, std::uint8_t{0});
  std::fill(own_end, check.shared.end(), std::uint8_t{1});
}

void begin_warp_check(Warp& w) {
  const std::size_t bytes = std::size_t{w.local_stride} * kLanes;
  if (bytes == 0) return;
  std::fill_n(w.block->check->local.begin() + (w.local - w.block->local.get()), bytes,
              std::uint8_t{0});
}

void check_barrier(BlockRun& block, unsigned number, bool everybody) {
  if (!block.check->races) return;
  RaceBook& races = *block.check->races;
  if (everybody) return races.barrier();
  std::uint32_t warps = 0;
  for (std::uint32_t index = 0; index < block.warp_count; ++index) {
    const Warp& w = block.warps[index];
    for (int g = 0; g < w.group_count; ++g) {
      if (w.groups[g].state == GroupState::kBarrier && w.groups[g].barrier == number) {
        warps |= 1u << index;
      }
    }
  }
  for (std::uint32_t m = warps; m != 0; m &= m - 1) {
    races.release(static_cast<unsigned>(__builtin_ctz(m)), number);
  }
  for (std::uint32_t m = warps; m != 0; m &= m - 1) {
    races.acquire(static_cast<unsigned>(__builtin_ctz(m)), number);
  }
}

}  // namespace farcall::softgpu
