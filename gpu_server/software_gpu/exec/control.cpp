// Handlers of control flow: branches, calls, exits, barriers, guards, clocks.
#include <cstring>
#include <ctime>

#include "gpu_server/software_gpu/exec/bounds.h"
#include "gpu_server/software_gpu/exec/fence.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

Group& running(Warp& w) { return w.groups[w.current]; }

const Ins* give_turn(Warp& w, const Ins* next, Pause pause) {
  running(w).pc = next;
  w.rotate = true;
  w.pause = pause;
  return stop();
}

const Ins* go(Warp& w, const Ins* i) {
  if (i->imm > 0 || --w.budget >= 0) return i + i->imm;
  return give_turn(w, i + i->imm, w.spinning ? Pause::kSpin : Pause::kYield);
}

const Ins* jump(Warp& w, const Ins* i, std::byte*) { return go(w, i); }

const Ins* branch(Warp& w, const Ins* i, std::byte* r) {
  const u32 taken = (pred(r, i->a) ^ ((i->flags & kNegated) != 0 ? ~0u : 0u)) & w.mask;
  if (taken == 0) return i + 1;
  if (taken == w.mask) return go(w, i);
  Group& group = running(w);
  Group& other = w.groups[w.group_count++];
  other = Group{};
  other.pc = i + i->imm;
  other.frame = group.frame;
  other.mask = taken;
  other.stamp = group.stamp;
  group.pc = i + 1;
  group.mask &= ~taken;
  if (i->imm <= 0 && --w.budget < 0) {
    w.rotate = true;
    w.pause = w.spinning ? Pause::kSpin : Pause::kYield;
  }
  return stop();
}

// brx.idx: one group per distinct target.
const Ins* branch_indexed(Warp& w, const Ins* i, std::byte* r) {
  const auto& table = w.frame->function->branch_tables[i->table];
  const Row<u32>* index = row<u32>(r, i->a);
  const Group group = running(w);
  u32 left = w.mask;
  bool first = true;
  --w.budget;
  while (left != 0) {
    const int lane = __builtin_ctz(left);
    const u32 chosen = index[lane];
    if (chosen >= table.size()) {
      return raise_fault(w, i, FaultKind::kIllegalInstruction, lane, chosen,
                         "has no branch target");
    }
    u32 same = 0;
    for (u32 m = left; m != 0; m &= m - 1) {
      if (index[__builtin_ctz(m)] == chosen) same |= m & (0u - m);
    }
    left &= ~same;
    Group& next = first ? running(w) : w.groups[w.group_count++];
    next = group;
    next.pc = i + table[chosen];
    next.mask = same;
    first = false;
  }
  if (w.budget < 0) {
    w.rotate = true;
    w.pause = w.spinning ? Pause::kSpin : Pause::kYield;
  }
  return stop();
}

void copy_slots(Warp& w, u32 mask, std::uint64_t to, const std::vector<LocalSlot>& to_slots,
                std::uint64_t from, const std::vector<LocalSlot>& from_slots) {
  const std::size_t count = std::min(to_slots.size(), from_slots.size());
  for (std::size_t k = 0; k < count; ++k) {
    const u32 bytes = std::min(to_slots[k].bytes, from_slots[k].bytes);
    for (u32 m = mask; m != 0; m &= m - 1) {
      std::byte* lane = w.local + std::size_t{w.local_stride} * static_cast<u32>(__builtin_ctz(m));
      std::memcpy(lane + to + to_slots[k].offset, lane + from + from_slots[k].offset, bytes);
    }
  }
}

const Ins* enter(Warp& w, const Ins* i, const FunctionBody& callee, u32 mask) {
  Frame* const caller = w.frame;
  const CallSite& site = caller->function->calls[i->table];
  const std::uint64_t offset = std::uint64_t{caller->local_offset} + caller->function->local_bytes;
  const bool fits = offset + callee.local_bytes <= w.local_stride && caller->depth < kCallDepthMax;
  Frame* const frame = fits ? open_frame(w, callee) : nullptr;
  if (frame == nullptr) {
    return raise_fault(w, i, FaultKind::kIllegalAddress, __builtin_ctz(mask), offset,
                       "overflows the stack by calling");
  }
  frame->caller = caller;
  frame->return_to = i + 1;
  frame->call_site = i->table;
  frame->local_offset = static_cast<u32>(offset);
  frame->depth = caller->depth + 1;
  frame->lanes = mask;
  copy_slots(w, mask, offset, callee.params, caller->local_offset, site.arguments);
  Group& group = running(w);
  group.frame = frame;
  group.pc = code_of(callee, *w.worker->launch);
  group.mask = mask;
  if (--w.budget < 0) {
    w.rotate = true;
    w.pause = w.spinning ? Pause::kSpin : Pause::kYield;
  }
  return stop();
}

const Ins* call(Warp& w, const Ins* i, std::byte*) {
  const CallSite& site = w.frame->function->calls[i->table];
  const auto& functions = w.worker->launch->kernel->functions;
  return enter(w, i, *functions[static_cast<std::size_t>(site.callee)], w.mask);
}

// Lanes that name another function than the first lane's stay behind and call in their turn.
const Ins* call_indirect(Warp& w, const Ins* i, std::byte* r) {
  const Row<u64>* target = row<u64>(r, i->a);
  const detail::KernelBody& kernel = *w.worker->launch->kernel;
  const int first = __builtin_ctz(w.mask);
  const u64 chosen = target[first];
  const u64 index = (chosen - kFunctionTag) / 16;
  if (chosen < kFunctionTag || index >= kernel.by_module_index.size() ||
      kernel.by_module_index[index] < 0 || chosen % 16 != 0) {
    return raise_fault(w, i, FaultKind::kIllegalInstruction, first, chosen, "calls no function:");
  }
  u32 same = 0;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    if (target[__builtin_ctz(m)] == chosen) same |= m & (0u - m);
  }
  if (same != w.mask) {
    Group& rest = w.groups[w.group_count++];
    rest = running(w);
    rest.pc = i;
    rest.mask = w.mask & ~same;
  }
  const auto function = static_cast<std::size_t>(kernel.by_module_index[index]);
  return enter(w, i, *kernel.functions[function], same);
}

const Ins* leave(Warp& w, const Ins*, std::byte*) {
  Frame* const frame = w.frame;
  Frame* const caller = frame->caller;
  const u32 mask = w.mask;
  if (caller == nullptr) {
    retire_lanes(w, mask);
    return stop();
  }
  const CallSite& site = caller->function->calls[frame->call_site];
  copy_slots(w, mask, caller->local_offset, site.results, frame->local_offset,
             frame->function->returns);
  Group& group = running(w);
  group.pc = frame->return_to;
  group.frame = caller;
  frame->lanes &= ~mask;
  if (frame->lanes == 0) w.worker->idle_frames[frame->function->index].push_back(frame);
  return stop();
}

const Ins* exit_lanes(Warp& w, const Ins*, std::byte*) {
  retire_lanes(w, w.mask);
  return stop();
}

const Ins* trap(Warp& w, const Ins* i, std::byte*) {
  return raise_fault(w, i, FaultKind::kTrap, __builtin_ctz(w.mask), 0, "executed a trap");
}

const Ins* nop(Warp&, const Ins* i, std::byte*) { return i + 1; }

const Ins* nanosleep(Warp& w, const Ins* i, std::byte*) {
  return give_turn(w, i + 1, Pause::kSpin);
}

// detail: 0 sync, 1 arrive, 2 red.popc, 3 red.and, 4 red.or. a: barrier, b: threads (kAnyFlag: none
// given), c: predicate.
const Ins* barrier(Warp& w, const Ins* i, std::byte* r) {
  const int first = __builtin_ctz(w.mask);
  const u32 number = row<u32>(r, i->a)[first];
  const u32 threads = (i->flags & kAnyFlag) != 0 ? 0 : row<u32>(r, i->b)[first];
  if (number >= kBarriers) {
    return raise_fault(w, i, FaultKind::kIllegalInstruction, first, number, "names no barrier:");
  }
  Barrier& at = w.block->barriers[number];
  w.block->barriers_used |= 1u << number;
  at.arrived += static_cast<u32>(__builtin_popcount(w.mask));
  if ((at.warps >> w.index & 1u) == 0) {
    at.padding += 32u - static_cast<u32>(__builtin_popcount(w.live));
  }
  at.warps |= 1u << w.index;
  if (threads != 0) at.expected = threads;
  if (i->detail >= 2) {
    const u32 p = pred(r, i->c) ^ ((i->flags & kNegated) != 0 ? ~0u : 0u);
    at.ones += static_cast<u32>(__builtin_popcount(p & w.mask));
  }
  Group& group = running(w);
  group.pc = i + 1;
  if (i->detail != 1) {
    group.state = GroupState::kBarrier;
    group.barrier = static_cast<u8>(number);
  }
  release_barriers(*w.block);
  return stop();
}

// Runs the next instruction for the lanes whose predicate holds.
const Ins* guard(Warp& w, const Ins* i, std::byte* r) {
  const u32 mask = (pred(r, i->a) ^ ((i->flags & kNegated) != 0 ? ~0u : 0u)) & w.mask;
  if (mask == 0) return i + 2;
  if (mask == w.mask) return i + 1;
  const u32 saved = w.mask;
  set_mask(w, mask);
  const Ins* const next = (i + 1)->part(w, i + 1, r);
  set_mask(w, saved);
  return next == stop() ? stop() : i + 2;
}

u64 nanoseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000u + static_cast<u64>(now.tv_nsec);
}

// detail: 0 low word, 1 high word, 2 both; table: 0 cycles, 1 global timer.
const Ins* clock_value(Warp& w, const Ins* i, std::byte* r) {
  note_spin(w);  // loops read clocks to wait
  const u64 now = i->table == 0 ? __builtin_ia32_rdtsc() : nanoseconds(CLOCK_REALTIME);
  if (i->detail == 2) {
    Row<u64>* d = row<u64>(r, i->d);
    FARCALL_LANES put<false, u64>(d, l, now, w.lanes);
  } else {
    const u32 half = static_cast<u32>(i->detail == 0 ? now : now >> 32);
    Row<u32>* d = row<u32>(r, i->d);
    FARCALL_LANES put<false, u32>(d, l, half, w.lanes);
  }
  return i + 1;
}

const Ins* fence(Warp&, const Ins* i, std::byte*) {
  full_fence();
  return i + 1;
}

#define FARCALL_BOTH(op, f) \
  { handler_key(op, Ty::kU32), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kJump, jump),
    FARCALL_BOTH(Op::kBranch, branch),
    FARCALL_BOTH(Op::kBranchIndexed, branch_indexed),
    FARCALL_BOTH(Op::kCall, call),
    FARCALL_BOTH(Op::kCallIndirect, call_indirect),
    FARCALL_BOTH(Op::kReturn, leave),
    FARCALL_BOTH(Op::kExit, exit_lanes),
    FARCALL_BOTH(Op::kTrap, trap),
    FARCALL_BOTH(Op::kNop, nop),
    FARCALL_BOTH(Op::kNanosleep, nanosleep),
    FARCALL_BOTH(Op::kBarrier, barrier),
    FARCALL_BOTH(Op::kGuard, guard),
    FARCALL_BOTH(Op::kClock, clock_value),
    FARCALL_BOTH(Op::kFence, fence),
};

}  // namespace

HandlerList control_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
