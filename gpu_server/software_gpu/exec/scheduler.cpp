// Chooses which lanes of a warp run: deepest call first, then lowest instruction (which makes lanes
// meet again after a branch), and by age once a group has used up its turn.
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

constexpr std::int32_t kTurnBranches = 4096;  // backward branches of one turn

void remove_group(Warp& w, int index) {
  --w.group_count;
  if (index != w.group_count) w.groups[index] = w.groups[w.group_count];
}

bool comes_first(const Warp& w, const Group& x, const Group& y) {
  if (w.rotate) return x.stamp < y.stamp;
  if (x.frame->depth != y.frame->depth) return x.frame->depth > y.frame->depth;
  return x.pc < y.pc;
}

// The ready group to run, or -1. Groups that sit at the same place are made one first.
int choose(Warp& w) {
  int best = -1;
  for (int g = 0; g < w.group_count; ++g) {
    if (w.groups[g].state != GroupState::kReady) continue;
    if (best < 0 || comes_first(w, w.groups[g], w.groups[best])) best = g;
  }
  if (best < 0) return -1;
  for (int g = w.group_count - 1; g >= 0; --g) {
    const Group& other = w.groups[g];
    if (g == best || other.state != GroupState::kReady || other.pc != w.groups[best].pc ||
        other.frame != w.groups[best].frame) {
      continue;
    }
    w.groups[best].mask |= other.mask;
    w.groups[best].passed = w.groups[best].passed && other.passed;
    const bool moved = best == w.group_count - 1;
    remove_group(w, g);
    if (moved) best = g;
  }
  w.rotate = false;
  return best;
}

// Where the chosen group meets another one that waits in the same call.
const Ins* meeting_point(const Warp& w, const Group& chosen) {
  const Ins* limit = stop();
  for (int g = 0; g < w.group_count; ++g) {
    const Group& other = w.groups[g];
    if (other.state == GroupState::kReady && other.frame == chosen.frame && other.pc > chosen.pc &&
        other.pc < limit) {
      limit = other.pc;
    }
  }
  return limit;
}

// Nobody is ready, but somebody waits for lanes that will not come to the same instruction: such
// programs are undefined; going on with the lanes at hand is what older devices do.
bool unpark(Warp& w) {
  int best = -1;
  for (int g = 0; g < w.group_count; ++g) {
    if (w.groups[g].state != GroupState::kParked) continue;
    if (best < 0 || w.groups[g].pc < w.groups[best].pc) best = g;
  }
  if (best < 0) return false;
  w.groups[best].state = GroupState::kReady;
  w.groups[best].passed = true;
  return true;
}

}  // namespace

void set_mask(Warp& w, std::uint32_t mask) {
  if (w.mask == mask) return;
  w.mask = mask;
  for (unsigned l = 0; l < kLanes; ++l) w.lanes[l] = 0u - (mask >> l & 1u);
}

Pause run_warp(Warp& w) {
  w.budget = kTurnBranches;
  w.pause = Pause::kNone;
  w.spinning = false;
  for (;;) {
    const int index = choose(w);
    if (index < 0) {
      if (w.group_count == 0) return Pause::kDone;
      if (unpark(w)) continue;
      return Pause::kBlocked;
    }
    Group& group = w.groups[index];
    w.current = static_cast<std::uint8_t>(index);
    w.frame = group.frame;
    w.limit = meeting_point(w, group);
    set_mask(w, group.mask);
    group.stamp = ++w.clock;
    const Ins* i = group.pc;
    const Ins* const limit = w.limit;
    std::byte* const regs = group.frame->regs;
    if (group.mask == kAllLanes) {
      do i = i->full(w, i, regs);
      while (i < limit);
    } else {
      do i = i->part(w, i, regs);
      while (i < limit);
    }
    if (i != stop()) {
      w.groups[w.current].pc = i;
      continue;
    }
    if (w.pause != Pause::kNone) return w.pause;
  }
}

void retire_lanes(Warp& w, std::uint32_t lanes) {
  Group& group = w.groups[w.current];
  leave_frames(w, group.frame, lanes);
  w.live &= ~lanes;
  group.mask &= ~lanes;
  if (group.mask == 0) remove_group(w, w.current);
  // Whoever waited for these lanes looks again.
  for (int g = 0; g < w.group_count; ++g) {
    if (w.groups[g].state == GroupState::kParked) w.groups[g].state = GroupState::kReady;
  }
  w.block->live_threads -= static_cast<std::uint32_t>(__builtin_popcount(lanes));
  release_barriers(*w.block);
  release_cluster(*w.block->first);
}

void note_spin(Warp& w) {
  constexpr std::int32_t kSpinBranches = 16;
  w.spinning = true;
  if (w.budget > kSpinBranches) w.budget = kSpinBranches;
}

bool gather_members(Warp& w, const Ins* i, std::uint32_t members) {
  Group& group = w.groups[w.current];
  if (group.passed) {
    group.passed = false;
    return true;
  }
  std::uint32_t gathered = group.mask;
  for (int g = w.group_count - 1; g >= 0; --g) {
    const Group& other = w.groups[g];
    if (g == w.current || other.state != GroupState::kParked || other.pc != i ||
        other.frame != group.frame) {
      continue;
    }
    gathered |= other.mask;
    w.groups[g].mask = 0;
  }
  if (gathered == group.mask && (members & w.live & ~gathered) == 0) return true;
  group.pc = i;
  group.mask = gathered;
  group.members = members;
  group.state = (members & w.live & ~gathered) == 0 ? GroupState::kReady : GroupState::kParked;
  for (int g = w.group_count - 1; g >= 0; --g) {
    if (w.groups[g].mask == 0) remove_group(w, g);
  }
  return false;
}

}  // namespace farcall::softgpu
