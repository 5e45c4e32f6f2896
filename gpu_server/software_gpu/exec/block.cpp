// One block from its first thread to its last: warps in turn, barriers, shared and local memory.
#include "gpu_server/software_gpu/exec/runtime.h"

#include <cstring>

namespace farcall::softgpu {
namespace {

constexpr int kSpinRounds = 4;  // rounds without a barrier or an exit until other blocks get a turn

void start_warp(Worker& worker, BlockRun& block, Warp& w, std::uint32_t index, unsigned levels) {
  const LaunchState& launch = *worker.launch;
  const FunctionBody& body = *launch.kernel->functions[0];
  w.index = index;
  const std::uint32_t first = index * kLanes;
  const std::uint32_t lanes = launch.threads - first < kLanes ? launch.threads - first : kLanes;
  w.live = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
  Frame& frame = *w.frame;
  frame.lanes = w.live;
  w.group_count = 1;
  w.rotate = false;
  w.groups[0] = Group{};
  w.groups[0].pc = code_of(body, launch);
  w.groups[0].frame = &frame;
  w.groups[0].mask = w.live;
  w.cluster_arrived = 0;
  if (block.check != nullptr) begin_warp_check(w);
  fill_specials(frame.regs, body, w, levels);
}

// first: of the block's cluster; null makes it itself.
std::unique_ptr<BlockRun> make_block(Worker& worker, BlockRun* first) {
  const LaunchState& launch = *worker.launch;
  const FunctionBody& body = *launch.kernel->functions[0];
  auto block = std::make_unique<BlockRun>();
  block->first = first != nullptr ? first : block.get();
  block->rank = first != nullptr ? static_cast<std::uint32_t>(first->others.size()) + 1 : 0;
  const bool one_by_one = launch.kernel->warps_independent;
  block->warp_count = one_by_one ? 1 : launch.warps;
  block->warps = std::make_unique<Warp[]>(block->warp_count);
  block->frames = std::make_unique<Frame[]>(block->warp_count);
  block->registers = make_buffer(std::size_t{body.frame_bytes} * block->warp_count);
  if (first == nullptr) {
    block->shared = make_buffer(std::size_t{launch.shared_bytes} * launch.cluster_blocks);
  }
  block->own_shared = block->first->shared.get() + std::size_t{launch.shared_bytes} * block->rank;
  const std::size_t warp_local = std::size_t{launch.local_stride} * kLanes;
  block->local = make_buffer(warp_local * block->warp_count);
  for (std::uint32_t index = 0; index < block->warp_count; ++index) {
    Warp& w = block->warps[index];
    Frame& frame = block->frames[index];
    frame.regs = block->registers.get() + std::size_t{body.frame_bytes} * index;
    frame.function = &body;
    if (!body.constants.empty()) {
      std::memcpy(frame.regs, body.constants.data(), body.constants.size());
    }
    w.mask = 1;  // whatever differs from the first mask, so that set_mask fills the lanes
    set_mask(w, kAllLanes);
    w.frame = &frame;
    w.ranges = worker.ranges.data();
    w.shared = block->own_shared;
    w.shared_bytes = launch.shared_bytes;
    w.local = block->local.get() + warp_local * index;
    w.local_stride = launch.local_stride;
    w.params = launch.params.data();
    w.param_bytes = static_cast<std::uint32_t>(launch.params.size());
    w.block = block.get();
    w.worker = &worker;
    w.index = index;
    fill_specials(frame.regs, body, w, kLaunchLevel | kWarpLevel);
  }
  return block;
}

BlockEnd run_one_by_one(Worker& worker, BlockRun& block) {
  const LaunchState& launch = *worker.launch;
  Warp& w = block.warps[0];
  for (std::uint32_t index = 0; index < launch.warps; ++index) {
    w.frame = &block.frames[0];
    start_warp(worker, block, w, index, kWarpLevel | (index == 0 ? kBlockLevel : 0u));
    for (;;) {
      const Pause pause = run_warp(w);
      if (pause == Pause::kDone) break;
      if (pause == Pause::kFault || launch.stopped.load(std::memory_order_relaxed)) {
        return BlockEnd::kStopped;
      }
    }
  }
  return BlockEnd::kFinished;
}

void release(BlockRun& block, unsigned number) {
  Barrier& barrier = block.barriers[number];
  if (block.check != nullptr) check_barrier(block, number, barrier.expected == 0);
  for (std::uint32_t index = 0; index < block.warp_count; ++index) {
    Warp& w = block.warps[index];
    for (int g = 0; g < w.group_count; ++g) {
      Group& group = w.groups[g];
      if (group.state != GroupState::kBarrier || group.barrier != number) continue;
      group.state = GroupState::kReady;
      const Ins* i = group.pc - 1;
      std::byte* regs = group.frame->regs;
      if (i->detail == 2) {  // bar.red.popc
        auto* d = reinterpret_cast<std::uint32_t*>(regs + i->d);
        for (unsigned l = 0; l < kLanes; ++l) {
          if ((group.mask >> l & 1u) != 0) d[l] = barrier.ones;
        }
      } else if (i->detail > 2) {  // .and, .or
        const bool all = i->detail == 3;
        const bool result = all ? barrier.ones >= barrier.arrived : barrier.ones > 0;
        auto* d = reinterpret_cast<std::uint32_t*>(regs + i->d);
        *d = (*d & ~group.mask) | (result ? group.mask : 0u);
      }
    }
  }
  barrier = Barrier{};
  block.barriers_used &= ~(1u << number);
}

}  // namespace

void release_barriers(BlockRun& block) {
  for (std::uint32_t used = block.barriers_used; used != 0; used &= used - 1) {
    const auto number = static_cast<unsigned>(__builtin_ctz(used));
    const Barrier& barrier = block.barriers[number];
    const bool complete = barrier.expected != 0
                              ? barrier.arrived + barrier.padding >= barrier.expected
                              : barrier.arrived >= block.live_threads;
    if (complete) release(block, number);
  }
}

namespace {

void begin_block(Worker& worker, BlockRun& block) {
  const LaunchState& launch = *worker.launch;
  block.live_threads = launch.threads;
  for (Barrier& barrier : block.barriers) barrier = Barrier{};
  block.barriers_used = 0;
  if (launch.reserved_offset != 0) {
    std::memset(block.own_shared + launch.reserved_offset, 0,
                launch.shared_bytes - launch.reserved_offset);
  }
  if (launch.checker != nullptr) begin_block_check(worker, block);
  if (launch.kernel->warps_independent) return;
  for (std::uint32_t index = 0; index < block.warp_count; ++index) {
    Warp& w = block.warps[index];
    w.frame = &block.frames[index];
    start_warp(worker, block, w, index, kBlockLevel);
  }
}

// The block of a cluster that has this rank in it.
BlockRun& member(BlockRun& first, std::uint32_t rank) {
  return rank == 0 ? first : *first.others[rank - 1];
}

// Of a cluster, whichever of its blocks it is that waits.
void report_deadlock(BlockRun& first) {
  for (std::uint32_t rank = 0; rank <= first.others.size(); ++rank) {
    BlockRun& block = member(first, rank);
    for (std::uint32_t index = 0; index < block.warp_count; ++index) {
      Warp& w = block.warps[index];
      if (w.group_count == 0) continue;
      w.frame = w.groups[0].frame;
      set_mask(w, w.groups[0].mask);
      raise_fault(w, w.groups[0].pc - 1, FaultKind::kLaunchTimeout, __builtin_ctz(w.mask), 0,
                  "waits at a barrier that the other threads never reach");
      return;
    }
  }
}

// What one round over the warps of a block has come to.
struct Round {
  bool alive = false, ran = false, moved = false, spun = false, stopped = false;
};

void run_warps(const LaunchState& launch, BlockRun& block, Round& round) {
  for (std::uint32_t index = 0; index < block.warp_count; ++index) {
    Warp& w = block.warps[index];
    if (w.group_count == 0) continue;
    round.alive = true;
    bool waits = true;
    for (int g = 0; g < w.group_count; ++g) {
      waits = waits && w.groups[g].state == GroupState::kBarrier;
    }
    if (waits) continue;
    round.ran = true;
    const Pause pause = run_warp(w);
    if (pause == Pause::kFault || launch.stopped.load(std::memory_order_relaxed)) {
      round.stopped = true;
      return;
    }
    round.moved = round.moved || pause == Pause::kDone || pause == Pause::kBlocked;
    round.spun = round.spun || pause == Pause::kSpin;
  }
}

}  // namespace

std::unique_ptr<BlockRun> take_block(Worker& worker, std::uint64_t number) {
  const LaunchState& launch = *worker.launch;
  std::unique_ptr<BlockRun> block;
  if (worker.idle.empty()) {
    block = make_block(worker, nullptr);
    while (block->others.size() + 1 < launch.cluster_blocks) {
      block->others.push_back(make_block(worker, block.get()));
    }
  } else {
    block = std::move(worker.idle.back());
    worker.idle.pop_back();
  }
  block->cluster_used = false;
  for (std::uint32_t rank = 0; rank < launch.cluster_blocks; ++rank) {
    BlockRun& one = member(*block, rank);
    std::uint64_t cluster = number;
    std::uint32_t place = rank;
    for (int k = 0; k < 3; ++k) {
      const unsigned clusters = launch.grid[k] / launch.cluster[k];
      one.ctaid[k] =
          static_cast<unsigned>(cluster % clusters) * launch.cluster[k] + place % launch.cluster[k];
      cluster /= clusters;
      place /= launch.cluster[k];
    }
    begin_block(worker, one);
  }
  return block;
}

BlockEnd run_block(Worker& worker, BlockRun& first) {
  const LaunchState& launch = *worker.launch;
  if (launch.kernel->warps_independent) {
    BlockEnd end = BlockEnd::kFinished;
    for (std::uint32_t rank = 0; rank < launch.cluster_blocks && end == BlockEnd::kFinished;
         ++rank) {
      end = run_one_by_one(worker, member(first, rank));
    }
    return end;
  }
  int idle_rounds = 0;
  while (idle_rounds < kSpinRounds) {
    Round round;
    run_warps(launch, first, round);
    for (std::size_t n = 0; n < first.others.size() && !round.stopped; ++n) {
      run_warps(launch, *first.others[n], round);
    }
    if (round.stopped) return BlockEnd::kStopped;
    if (!round.alive) return BlockEnd::kFinished;
    if (!round.ran) {
      report_deadlock(first);
      return BlockEnd::kStopped;
    }
    idle_rounds = !round.moved && round.spun ? idle_rounds + 1 : 0;
  }
  return BlockEnd::kSpinning;
}

}  // namespace farcall::softgpu
