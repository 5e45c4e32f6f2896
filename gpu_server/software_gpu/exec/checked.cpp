// Handlers of checked launches: each looks at what its instruction is about to touch, then runs the
// ordinary handler, then notes what that has changed. Code bound to them has the same shape as
// ordinary code, so every distance and table holds.
#include "gpu_server/software_gpu/exec/check_report.h"
#include "gpu_server/software_gpu/exec/checker.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

std::size_t number_of(const Warp& w, const Ins* i) {
  return static_cast<std::size_t>(i - w.frame->function->checked(w.worker->launch->isa));
}

u32 key_of(const Warp& w, const Ins* i) { return w.frame->function->keys[number_of(w, i)]; }

Op op_of(u32 key) { return static_cast<Op>(key >> 16); }

// The ordinary handler of this instruction.
const Ins* run(Warp& w, const Ins* i, std::byte* r) {
  const Ins& plain = w.frame->function->bound(w.worker->launch->isa)[number_of(w, i)];
  return (w.mask == kAllLanes ? plain.full : plain.part)(w, i, r);
}

enum class Place : u8 { kShared, kLocal, kDevice };

// Where one lane's access goes. Not in the mask: outside of its window, which is a fault.
struct Touched {
  u64 at[kLanes];
  u32 mask = 0;
};

Touched find_touched(const Warp& w, const Ins* i, std::byte* r, u64 bytes) {
  Touched t;
  const bool window = i->space == Space::kShared || i->space == Space::kLocal;
  const u32 size = i->space == Space::kShared ? w.shared_bytes : w.local_stride;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u64 a = (i->flags & kAddress32) != 0 ? row<u32>(r, i->a)[l] : row<u64>(r, i->a)[l];
    t.at[l] = a + static_cast<u64>(i->imm);
    if (window) {
      const u32 offset = static_cast<u32>(t.at[l]);
      if (size < bytes || offset > size - bytes) continue;
      t.at[l] =
          offset + reinterpret_cast<u64>(i->space == Space::kShared
                                             ? w.shared
                                             : w.local + std::size_t{size} * static_cast<u32>(l));
    }
    t.mask |= 1u << l;
  }
  return t;
}

Place place_of(const Warp& w, u64 at) {
  if (at - reinterpret_cast<u64>(w.shared) < w.shared_bytes) return Place::kShared;
  const u64 local_bytes = w.block->check->local.size();
  if (at - reinterpret_cast<u64>(w.block->local.get()) < local_bytes) return Place::kLocal;
  return Place::kDevice;
}

u32 shared_offset(const Warp& w, u64 at) {
  return static_cast<u32>(at - reinterpret_cast<u64>(w.shared));
}

// One mark per byte, 0 for those nobody wrote; null for memory that is not watched.
u8* marks_of(const Warp& w, u64 at, u64 bytes) {
  BlockCheck& check = *w.block->check;
  const auto within = [&](std::vector<u8>& marks, const std::byte* base) -> u8* {
    const u64 offset = at - reinterpret_cast<u64>(base);
    return offset <= marks.size() && bytes <= marks.size() - offset ? marks.data() + offset
                                                                    : nullptr;
  };
  switch (place_of(w, at)) {
    case Place::kShared: return within(check.shared, w.shared);
    case Place::kLocal: return within(check.local, w.block->local.get());
    default:
      if (const BlockRun* const other = block_at(w, at)) {
        return within(other->check->shared, other->own_shared);
      }
      return check.checker->watch().marks(at, bytes);
  }
}

bool is_watched_for_races(const Warp& w, u64 at) {
  const BlockCheck& check = *w.block->check;
  return check.races && place_of(w, at) == Place::kShared &&
         shared_offset(w, at) < check.own_shared_bytes;
}

RaceBook::Who who_of(const Warp& w, const Ins* i, int lane) {
  return {w.index, static_cast<unsigned>(lane), i};
}

void note_written(const Warp& w, u64 at, u64 bytes) {
  if (u8* const marks = marks_of(w, at, bytes)) __builtin_memset(marks, 1, bytes);
}

// An element counts as unwritten when none of its bytes was written: copies of structs touch the
// gaps between their members.
void check_written(Warp& w, const Ins* i, int lane, u64 at, u64 bytes, u64 element) {
  if (!w.block->check->checker->options().init) return;
  const u8* const marks = marks_of(w, at, bytes);
  if (marks == nullptr) return;
  for (u64 e = 0; e < bytes; e += element) {
    u8 any = 0;
    for (u64 b = 0; b < element; ++b) any |= marks[e + b];
    if (any == 0) return report_unwritten(w, i, lane, at + e, element);
  }
}

void check_read(Warp& w, const Ins* i, int lane, u64 at, u64 bytes, bool strong) {
  if (!is_watched_for_races(w, at)) return;
  const auto other = w.block->check->races->read(who_of(w, i, lane), shared_offset(w, at),
                                                 static_cast<u32>(bytes), strong);
  if (other)
    report_race(w, i, lane, {shared_offset(w, at), static_cast<u32>(bytes), false}, *other);
}

void check_write(Warp& w, const Ins* i, int lane, u64 at, u64 bytes, const std::byte* value,
                 bool strong) {
  if (!is_watched_for_races(w, at)) return;
  const auto other = w.block->check->races->write(who_of(w, i, lane), shared_offset(w, at),
                                                  static_cast<u32>(bytes), value, strong);
  if (other) report_race(w, i, lane, {shared_offset(w, at), static_cast<u32>(bytes), true}, *other);
}

void acquire_all(const Warp& w, const Touched& t) {
  if (!w.block->check->races) return;
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    w.block->check->races->acquire(w.index, t.at[__builtin_ctz(m)]);
  }
}

void release_all(const Warp& w, const Touched& t) {
  if (!w.block->check->races) return;
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    w.block->check->races->release(w.index, t.at[__builtin_ctz(m)]);
  }
}

u64 element_bytes(u32 key) {
  switch (static_cast<Ty>(key >> 8 & 0xff)) {
    case Ty::kU8:
    case Ty::kS8: return 1;
    case Ty::kU16:
    case Ty::kS16: return 2;
    case Ty::kU64:
    case Ty::kS64: return 8;
    default: return 4;
  }
}

const Ins* load(Warp& w, const Ins* i, std::byte* r) {
  const u64 bytes = u64{1} << i->size_log2, element = element_bytes(key_of(w, i));
  const Touched t = find_touched(w, i, r, bytes);
  const bool strong = (i->flags & kStrong) != 0;
  if (strong) acquire_all(w, t);
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    check_read(w, i, l, t.at[l], bytes, strong);
  }
  const Ins* const next = run(w, i, r);
  if (next == stop() || (i->flags & kCallSlot) != 0) return next;
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    check_written(w, i, l, t.at[l], bytes, element);
  }
  return next;
}

// What lane l is about to store.
void gather_value(const Ins* i, std::byte* r, int l, u32 key, std::byte* value) {
  const u64 element = element_bytes(key);
  const u32 rows[] = {i->d, i->e, i->b, i->c};
  for (u32 n = 0; n < 1u << (key & 3); ++n) {
    const u64 bits = (key & 4) != 0 ? row<u64>(r, rows[n])[l] : row<u32>(r, rows[n])[l];
    __builtin_memcpy(value + n * element, &bits, element);
  }
}

const Ins* store(Warp& w, const Ins* i, std::byte* r) {
  const u64 bytes = u64{1} << i->size_log2;
  const Touched t = find_touched(w, i, r, bytes);
  const u32 key = key_of(w, i);
  const bool strong = (i->flags & (kStrong | kRelease)) != 0;
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    std::byte value[32];
    gather_value(i, r, l, key, value);
    check_write(w, i, l, t.at[l], bytes, value, strong);
  }
  const Ins* const next = run(w, i, r);
  if (next == stop()) return next;
  for (u32 m = t.mask; m != 0; m &= m - 1) note_written(w, t.at[__builtin_ctz(m)], bytes);
  if (strong) release_all(w, t);
  return next;
}

const Ins* atom(Warp& w, const Ins* i, std::byte* r) {
  const u64 bytes = u64{1} << i->size_log2;
  const Touched t = find_touched(w, i, r, bytes);
  acquire_all(w, t);
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    check_write(w, i, l, t.at[l], bytes, nullptr, true);
  }
  const Ins* const next = run(w, i, r);
  if (next == stop()) return next;
  constexpr u8 kExchange = 5;
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    if (i->detail != kExchange) check_written(w, i, l, t.at[l], bytes, bytes);
    note_written(w, t.at[l], bytes);
  }
  release_all(w, t);
  return next;
}

const Ins* copy_async(Warp& w, const Ins* i, std::byte* r) {
  const u64 bytes = u64{1} << i->size_log2;
  const Touched t = find_touched(w, i, r, bytes);
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    check_write(w, i, l, t.at[l], bytes, nullptr, false);
  }
  const Ins* const next = run(w, i, r);
  if (next == stop()) return next;
  for (u32 m = t.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u64 from =
        row<u64>(r, i->b)[l] + static_cast<u64>(static_cast<s64>(static_cast<s32>(i->table)));
    const u64 wanted = row<u32>(r, i->c)[l], used = wanted < bytes ? wanted : bytes;
    if (used >= 4) check_written(w, i, l, from, used / 4 * 4, 4);
    note_written(w, t.at[l], bytes);
  }
  return next;
}

// The object itself is touched by nothing else.
const Ins* mbarrier(Warp& w, const Ins* i, std::byte* r) {
  const Touched t = find_touched(w, i, r, 8);
  const Ins* const next = run(w, i, r);
  if (next == stop()) return next;
  for (u32 m = t.mask; m != 0; m &= m - 1) note_written(w, t.at[__builtin_ctz(m)], 8);
  if (static_cast<MbarrierDo>(i->detail) < MbarrierDo::kWait) {
    release_all(w, t);
  } else {
    acquire_all(w, t);
  }
  return next;
}

// The running lanes know the past of those that their member masks name.
void sync_members(Warp& w, const Ins* i, std::byte* r) {
  u32 left = w.mask;
  while (left != 0) {
    const u32 members = row<u32>(r, i->f)[__builtin_ctz(left)];
    const u32 together = members == 0 ? left : members & w.mask;
    w.block->check->races->sync_lanes(w.index, together, w.live);
    left &= ~(together | (left & (0u - left)));
  }
}

// shfl, vote, match, redux.
const Ins* exchange(Warp& w, const Ins* i, std::byte* r) {
  const Ins* const next = run(w, i, r);
  if (next != stop() && w.block->check->races) sync_members(w, i, r);
  return next;
}

// Lanes that were parked at one and run now have met the running ones. A function of its own: the
// ordinary handler knows such lanes by the handler of their instruction.
const Ins* bar_warp(Warp& w, const Ins* i, std::byte* r) {
  u32 parked = 0, lanes = w.mask;
  for (int g = 0; g < w.group_count; ++g) {
    const Group& group = w.groups[g];
    if (group.state == GroupState::kParked && group.pc->full == i->full) parked |= group.mask;
  }
  const Ins* const next = run(w, i, r);
  if (!w.block->check->races) return next;
  if (next != stop()) {
    sync_members(w, i, r);
    return next;
  }
  if (w.groups[w.current].state != GroupState::kReady) return next;
  for (int g = 0; g < w.group_count; ++g) {
    if (w.groups[g].state == GroupState::kReady) lanes |= w.groups[g].mask & parked;
  }
  w.block->check->races->sync_lanes(w.index, lanes, w.live);
  return next;
}

const Ins* barrier(Warp& w, const Ins* i, std::byte* r) {
  constexpr u8 kArrive = 1;
  const u32 number = row<u32>(r, i->a)[__builtin_ctz(w.mask)];
  if (i->detail == kArrive && number < kBarriers && w.block->check->races) {
    w.block->check->races->release(w.index, number);
  }
  return run(w, i, r);
}

// What lies in the callee's local memory is another call's, but for its parameters.
const Ins* call(Warp& w, const Ins* i, std::byte* r) {
  const Frame* const caller = w.frame;
  const u32 mask = w.mask;
  const Ins* const next = run(w, i, r);
  const Group& group = w.groups[w.current];
  if (w.pause == Pause::kFault || group.frame == caller) return next;
  const FunctionBody& callee = *group.frame->function;
  for (u32 m = mask & group.mask; m != 0; m &= m - 1) {
    const u64 at = reinterpret_cast<u64>(w.local) +
                   u64{w.local_stride} * static_cast<u32>(__builtin_ctz(m)) +
                   group.frame->local_offset;
    u8* const marks = marks_of(w, at, callee.local_bytes);
    if (marks == nullptr) continue;
    __builtin_memset(marks, 0, callee.local_bytes);
    for (const auto* slots : {&callee.params, &callee.returns}) {
      for (const LocalSlot& slot : *slots) __builtin_memset(marks + slot.offset, 1, slot.bytes);
    }
  }
  return next;
}

// Calls of the device runtime leave what they make where an argument points: 8 bytes at most.
const Ins* library(Warp& w, const Ins* i, std::byte* r) {
  const CallSite& site = w.frame->function->calls[i->table];
  const Ins* const next = run(w, i, r);
  if (next == stop()) return next;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    for (std::size_t n = 0; n < site.arguments.size(); ++n) {
      note_written(w, call_argument(w, site, n, l), 8);
    }
  }
  return next;
}

Handler checked_handler(Op op) {
  switch (op) {
    case Op::kLoad: return load;
    case Op::kStore: return store;
    case Op::kAtom: return atom;
    case Op::kCopyAsync: return copy_async;
    case Op::kMatrixLoad: return load_matrix;  // which tells of each line
    case Op::kMbarrier: return mbarrier;
    case Op::kShfl:
    case Op::kVote:
    case Op::kMatch:
    case Op::kRedux: return exchange;
    case Op::kBarWarp: return bar_warp;
    case Op::kBarrier: return barrier;
    case Op::kCall:
    case Op::kCallIndirect: return call;
    case Op::kLibrary: return library;
    default: return nullptr;
  }
}

}  // namespace

const Ins* FunctionBody::checked(Isa isa) const {
  const auto k = static_cast<std::size_t>(isa);
  std::call_once(checked_once_[k], [&] {
    const Ins* const plain = bound(isa);
    checked_[k].assign(plain, plain + code.size());
    for (std::size_t n = 0; n < code.size(); ++n) {
      if (const Handler handler = checked_handler(op_of(keys[n]))) {
        checked_[k][n].full = checked_[k][n].part = handler;
      }
    }
  });
  return checked_[k].data();
}

void check_bulk_copy(Warp& w, const Ins* i, int lane, u64 to, u64 from, u64 bytes) {
  check_read(w, i, lane, from, bytes, false);
  check_write(w, i, lane, to, bytes, nullptr, false);
  check_written(w, i, lane, from, bytes, 4);
  note_written(w, to, bytes);
}

void check_matrix_line(Warp& w, const Ins* i, int lane, u64 at, u64 bytes) {
  const Op op = op_of(key_of(w, i));
  const bool stores = op == Op::kMatrixStore || (op == Op::kMatrixTranspose && i->detail2 == 1);
  if (w.block->check->races) w.block->check->races->sync_lanes(w.index, w.mask, w.live);
  if (stores) {
    check_write(w, i, lane, at, bytes, nullptr, false);
    note_written(w, at, bytes);
  } else {
    check_read(w, i, lane, at, bytes, false);
    if (bytes % 4 == 0) check_written(w, i, lane, at, bytes, bytes);
  }
}

}  // namespace farcall::softgpu
