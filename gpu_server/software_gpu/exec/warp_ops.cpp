// Handlers across the lanes of a warp other than shuffles, predicate logic and address helpers.
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

void spread(Warp& w, Row<u32>* d, u32 value) {
  FARCALL_LANES put<false, u32>(d, l, value, w.lanes);
}

void put_pred(Warp& w, u32& p, u32 value) { p = (p & ~w.mask) | (value & w.mask); }

// True when the lanes that the member masks name are here. Lanes may name different masks, as tiles
// of a warp do.
bool together(Warp& w, const Ins* i, std::byte* r) {
  u32 members = 0;
  for (u32 m = w.mask; m != 0; m &= m - 1) members |= row<u32>(r, i->f)[__builtin_ctz(m)];
  return (members & w.live & ~w.mask) == 0 || gather_members(w, i, members);
}

// Calls f(lanes that name one mask, the running lanes that mask names) for each distinct mask.
template <class F>
void for_each_mask(const Warp& w, const Ins* i, std::byte* r, F f) {
  const Row<u32>* masks = row<u32>(r, i->f);
  u32 left = w.mask;
  while (left != 0) {
    const u32 members = masks[__builtin_ctz(left)];
    u32 same = 0;
    for (u32 m = left; m != 0; m &= m - 1) {
      if (masks[__builtin_ctz(m)] == members) same |= m & (0u - m);
    }
    left &= ~same;
    f(same, members == 0 ? w.mask : w.mask & members);
  }
}

void spread_to(Row<u32>* d, u32 lanes, u32 value) {
  for (u32 m = lanes; m != 0; m &= m - 1) d[__builtin_ctz(m)] = value;
}

const Ins* vote(Warp& w, const Ins* i, std::byte* r) {
  if (!together(w, i, r)) return stop();
  u32 result = 0;
  for_each_mask(w, i, r, [&](u32 lanes, u32 all) {
    const u32 votes = pred(r, i->a) & all;
    if (i->detail == 3) return spread_to(row<u32>(r, i->d), lanes, votes);
    const bool yes = i->detail == 0   ? votes == all
                     : i->detail == 1 ? votes != 0
                                      : votes == 0 || votes == all;
    if (yes) result |= lanes;
  });
  if (i->detail != 3) put_pred(w, pred(r, i->d), result);
  return i + 1;
}

const Ins* active_mask(Warp& w, const Ins* i, std::byte* r) {
  spread(w, row<u32>(r, i->d), w.mask);
  return i + 1;
}

template <class T>
const Ins* match(Warp& w, const Ins* i, std::byte* r) {
  if (!together(w, i, r)) return stop();
  const Row<T>* a = row<T>(r, i->a);
  Row<u32>* d = row<u32>(r, i->d);
  u32 agreeing = 0;
  for_each_mask(w, i, r, [&](u32 lanes, u32 all) {
    for (u32 m = lanes; m != 0; m &= m - 1) {
      const int lane = __builtin_ctz(m);
      u32 found = 0;
      for (u32 n = all; n != 0; n &= n - 1) {
        if (a[__builtin_ctz(n)] == a[lane]) found |= n & (0u - n);
      }
      if (found == all) agreeing |= 1u << lane;
      d[lane] = i->detail == 0 ? found : found == all ? all : 0;
    }
  });
  put_pred(w, pred(r, i->e), agreeing);
  return i + 1;
}

template <class T>
T reduce(const Row<T>* a, u32 lanes, u8 op) {
  T result = Cell<T>::get(a[__builtin_ctz(lanes)]);
  for (u32 m = lanes & (lanes - 1); m != 0; m &= m - 1) {
    const T x = Cell<T>::get(a[__builtin_ctz(m)]);
    switch (op) {
      case 0: result = static_cast<T>(static_cast<u32>(result) + static_cast<u32>(x)); break;
      case 1: result = x < result ? x : result; break;
      case 2: result = x > result ? x : result; break;
      case 7: result = result & x; break;
      case 8: result = result | x; break;
      default: result = result ^ x; break;
    }
  }
  return result;
}

template <class T>
const Ins* redux(Warp& w, const Ins* i, std::byte* r) {
  if (!together(w, i, r)) return stop();
  for_each_mask(w, i, r, [&](u32 lanes, u32 all) {
    spread_to(row<u32>(r, i->d), lanes,
              static_cast<u32>(reduce<T>(row<T>(r, i->a), all, i->detail)));
  });
  return i + 1;
}

// Lanes may wait at different bar.warp.sync instructions.
const Ins* bar_warp(Warp& w, const Ins* i, std::byte* r) {
  u32 members = 0;
  for (u32 m = w.mask; m != 0; m &= m - 1) members |= row<u32>(r, i->f)[__builtin_ctz(m)];
  const u32 needed = members & w.live & ~w.mask;
  if (needed == 0) return i + 1;
  Group& group = w.groups[w.current];
  if (group.passed) {
    group.passed = false;
    return i + 1;
  }
  const auto waits_too = [&](const Group& other) {
    return other.state == GroupState::kParked && other.pc->full == i->full;
  };
  u32 here = w.mask;
  for (int g = 0; g < w.group_count; ++g) {
    if (waits_too(w.groups[g])) here |= w.groups[g].mask;
  }
  if ((needed & ~here) != 0) {
    group.pc = i;
    group.members = members;
    group.state = GroupState::kParked;
    return stop();
  }
  for (int g = 0; g < w.group_count; ++g) {
    Group& other = w.groups[g];
    if (!waits_too(other) || (other.members & w.live & ~here) != 0) continue;
    other.state = GroupState::kReady;
    ++other.pc;
  }
  group.pc = i + 1;
  return stop();  // the others may be at the same place: let them join
}

const Ins* pred_and(Warp& w, const Ins* i, std::byte* r) {
  put_pred(w, pred(r, i->d), pred(r, i->a) & pred(r, i->b));
  return i + 1;
}
const Ins* pred_or(Warp& w, const Ins* i, std::byte* r) {
  put_pred(w, pred(r, i->d), pred(r, i->a) | pred(r, i->b));
  return i + 1;
}
const Ins* pred_xor(Warp& w, const Ins* i, std::byte* r) {
  put_pred(w, pred(r, i->d), pred(r, i->a) ^ pred(r, i->b));
  return i + 1;
}
const Ins* pred_not(Warp& w, const Ins* i, std::byte* r) {
  put_pred(w, pred(r, i->d), ~pred(r, i->a));
  return i + 1;
}
const Ins* pred_mov(Warp& w, const Ins* i, std::byte* r) {
  put_pred(w, pred(r, i->d), pred(r, i->a));
  return i + 1;
}

template <class T>
const Ins* frame_address(Warp& w, const Ins* i, std::byte* r) {
  const T value = static_cast<T>(static_cast<u64>(i->imm) + w.frame->local_offset);
  Row<T>* d = row<T>(r, i->d);
  FARCALL_LANES put<false, T>(d, l, value, w.lanes);
  return i + 1;
}

u64 window_base(const Warp& w, Space space, int lane) {
  if (space == Space::kShared) return reinterpret_cast<u64>(w.shared);
  if (space == Space::kParam) return reinterpret_cast<u64>(w.params);
  return reinterpret_cast<u64>(w.local) + static_cast<u64>(lane) * w.local_stride;
}

// cvta of shared, local and parameter addresses; kNegated for cvta.to.
const Ins* cvta(Warp& w, const Ins* i, std::byte* r) {
  const Row<u64>* a = row<u64>(r, i->a);
  Row<u64>* d = row<u64>(r, i->d);
  const bool to = (i->flags & kNegated) != 0;
  for (int l = 0; l < kLanes; ++l) {
    const u64 base = window_base(w, i->space, l);
    put<false, u64>(d, l, to ? a[l] - base : a[l] + base, w.lanes);
  }
  return i + 1;
}

const Ins* is_space(Warp& w, const Ins* i, std::byte* r) {
  const Row<u64>* a = row<u64>(r, i->a);
  const u64 cluster_bytes = u64{w.shared_bytes} * w.worker->launch->cluster_blocks;
  u32 found = 0;
  for (int l = 0; l < kLanes; ++l) {
    const bool own = a[l] - reinterpret_cast<u64>(w.shared) < w.shared_bytes;
    const bool cluster = a[l] - reinterpret_cast<u64>(w.block->first->shared.get()) < cluster_bytes;
    const bool shared = (i->flags & kAnyFlag) != 0 ? cluster : own;
    const bool param = a[l] - reinterpret_cast<u64>(w.params) < w.param_bytes;
    const bool local =
        a[l] - reinterpret_cast<u64>(w.local) < std::uint64_t{w.local_stride} * kLanes;
    const bool yes = i->space == Space::kShared  ? shared
                     : i->space == Space::kLocal ? local
                     : i->space == Space::kParam ? param
                                                 : !cluster && !local;
    found |= yes ? 1u << l : 0u;
  }
  put_pred(w, pred(r, i->d), found);
  return i + 1;
}

#define FARCALL_BOTH(op, ty, f) \
  { handler_key(op, ty), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kVote, Ty::kU32, vote),
    FARCALL_BOTH(Op::kActiveMask, Ty::kU32, active_mask),
    FARCALL_BOTH(Op::kMatch, Ty::kU32, match<u32>),
    FARCALL_BOTH(Op::kMatch, Ty::kU64, match<u64>),
    FARCALL_BOTH(Op::kRedux, Ty::kU32, redux<u32>),
    FARCALL_BOTH(Op::kRedux, Ty::kS32, redux<s32>),
    FARCALL_BOTH(Op::kBarWarp, Ty::kU32, bar_warp),
    FARCALL_BOTH(Op::kPredAnd, Ty::kPred, pred_and),
    FARCALL_BOTH(Op::kPredOr, Ty::kPred, pred_or),
    FARCALL_BOTH(Op::kPredXor, Ty::kPred, pred_xor),
    FARCALL_BOTH(Op::kPredNot, Ty::kPred, pred_not),
    FARCALL_BOTH(Op::kPredMov, Ty::kPred, pred_mov),
    FARCALL_BOTH(Op::kFrameAddress, Ty::kU32, frame_address<u32>),
    FARCALL_BOTH(Op::kFrameAddress, Ty::kU64, frame_address<u64>),
    FARCALL_BOTH(Op::kCvtaLocal, Ty::kU64, cvta),
    FARCALL_BOTH(Op::kIsSpace, Ty::kU64, is_space),
};

}  // namespace

HandlerList warp_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
