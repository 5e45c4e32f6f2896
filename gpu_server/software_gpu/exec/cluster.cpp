// Clusters: blocks that run on one thread, one turn after the other, and reach each other's shared
// memory, which lies in one piece, block after block.
//
// An address of the cluster is the block's own offset, or, made by mapa, (rank + 1) << 24 | offset.
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

constexpr unsigned kRankShift = 24;
constexpr u32 kOffsetMask = (1u << kRankShift) - 1;
static_assert(Engine::kSharedBytesMax < kOffsetMask);

// Nothing lies at the addresses below 4 GiB: what is no block's becomes a fault where it is used.
u64 host_address(const Warp& w, u64 address) {
  const u32 tag = static_cast<u32>(address >> kRankShift & 0xffu);
  const u32 rank = tag == 0 ? w.block->rank : tag - 1;
  const u64 offset = address & kOffsetMask;
  if (rank >= w.worker->launch->cluster_blocks || offset >= w.shared_bytes) return offset;
  return reinterpret_cast<u64>(w.block->first->shared.get()) + u64{rank} * w.shared_bytes + offset;
}

// The offset from the first block's shared memory, or ~0 where a generic address is none of it.
u64 place_in_cluster(const Warp& w, u64 generic) {
  const u64 place = generic - reinterpret_cast<u64>(w.block->first->shared.get());
  const u64 all = u64{w.shared_bytes} * w.worker->launch->cluster_blocks;
  return place < all ? place : ~u64{0};
}

u64 address_of_lane(const Ins* i, std::byte* r, int l) {
  const u64 a = (i->flags & kAddress32) != 0 ? row<u32>(r, i->a)[l] : row<u64>(r, i->a)[l];
  return a + static_cast<u64>(i->imm);
}

// From addresses of shared memory (of global memory: with the offset added) to generic ones;
// kNegated: back.
const Ins* cluster_address(Warp& w, const Ins* i, std::byte* r) {
  Row<u64>* d = row<u64>(r, i->d);
  for (int l = 0; l < kLanes; ++l) {
    u64 address = address_of_lane(i, r, l);
    if ((i->flags & kNegated) != 0) {
      const u64 place = place_in_cluster(w, address);
      if (place != ~u64{0}) {
        const u64 rank = place / w.shared_bytes;
        address = place % w.shared_bytes;
        if (rank != w.block->rank) address |= (rank + 1) << kRankShift;
      }
    } else if (i->space == Space::kShared) {
      address = host_address(w, address);
    }
    put<false, u64>(d, l, address, w.lanes);
  }
  return i + 1;
}

// mapa: b is a rank. detail: 0 gives a generic address, 1 one of the cluster, 2 the rank of a.
template <class T>
const Ins* map_address(Warp& w, const Ins* i, std::byte* r) {
  Row<T>* d = row<T>(r, i->d);
  const Row<u32>* ranks = row<u32>(r, i->b);
  for (int l = 0; l < kLanes; ++l) {
    const u64 a = address_of_lane(i, r, l);
    const u64 generic = i->space == Space::kShared ? host_address(w, a) : a;
    const u64 place = place_in_cluster(w, generic);
    u64 result = 0;
    if (i->detail == 2) {
      result = place == ~u64{0} ? 0 : place / w.shared_bytes;
    } else if (i->detail == 1) {
      result = (u64{ranks[l]} + 1) << kRankShift | (a & kOffsetMask);
    } else {
      result = in_block_of_cluster(w, generic, ranks[l]);
    }
    put<false, T>(d, l, static_cast<T>(result), w.lanes);
  }
  return i + 1;
}

// barrier.cluster. detail: 0 arrive, 1 wait.
const Ins* cluster_barrier(Warp& w, const Ins* i, std::byte*) {
  if (i->detail == 0) {
    w.cluster_arrived |= w.mask;
    w.block->first->cluster_used = true;
    release_cluster(*w.block->first);
    return i + 1;
  }
  if ((w.cluster_arrived & w.mask) == 0) return i + 1;
  Group& group = w.groups[w.current];
  group.pc = i + 1;
  group.state = GroupState::kBarrier;
  group.barrier = kClusterBarrier;
  return stop();
}

bool everybody_arrived(const BlockRun& block) {
  for (std::uint32_t index = 0; index < block.warp_count; ++index) {
    const Warp& w = block.warps[index];
    if ((w.live & ~w.cluster_arrived) != 0) return false;
  }
  return true;
}

void let_go(BlockRun& block) {
  if (block.check != nullptr) check_barrier(block, 0, true);
  for (std::uint32_t index = 0; index < block.warp_count; ++index) {
    Warp& w = block.warps[index];
    w.cluster_arrived = 0;
    for (int g = 0; g < w.group_count; ++g) {
      Group& group = w.groups[g];
      if (group.state == GroupState::kBarrier && group.barrier == kClusterBarrier) {
        group.state = GroupState::kReady;
      }
    }
  }
}

#define FARCALL_BOTH(op, ty, f) \
  { handler_key(op, ty), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kClusterAddress, Ty::kU64, cluster_address),
    FARCALL_BOTH(Op::kMapAddress, Ty::kU32, map_address<u32>),
    FARCALL_BOTH(Op::kMapAddress, Ty::kU64, map_address<u64>),
    FARCALL_BOTH(Op::kClusterBarrier, Ty::kU32, cluster_barrier),
};

}  // namespace

BlockRun* block_at(const Warp& w, u64 generic) {
  const u64 place = place_in_cluster(w, generic);
  if (place == ~u64{0}) return nullptr;
  const u64 rank = place / w.shared_bytes;
  BlockRun& first = *w.block->first;
  return rank == 0 ? &first : first.others[rank - 1].get();
}

u64 in_block_of_cluster(const Warp& w, u64 generic, u32 rank) {
  const u64 place = place_in_cluster(w, generic);
  if (place == ~u64{0} || rank >= w.worker->launch->cluster_blocks) return 0;
  return reinterpret_cast<u64>(w.block->first->shared.get()) + u64{rank} * w.shared_bytes +
         place % w.shared_bytes;
}

void release_cluster(BlockRun& first) {
  if (!first.cluster_used || !everybody_arrived(first)) return;
  for (const auto& other : first.others) {
    if (!everybody_arrived(*other)) return;
  }
  first.cluster_used = false;
  let_go(first);
  for (const auto& other : first.others) let_go(*other);
}

HandlerList cluster_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
