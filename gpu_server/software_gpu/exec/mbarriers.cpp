// mbarrier objects in shared memory, and the copies whose end they count: cp.async.bulk and
// st.async. Copies are done at once; what waits for them finds them done.
#include <cstring>

#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

// An object: how many arrivals a phase takes, how many it still lacks, how many bytes it still
// waits for (may be below zero for a while), and the phase, of which the last bits are enough: who
// waits is one phase behind at most.
constexpr unsigned kLackingShift = 20, kBytesShift = 40, kPhaseShift = 61;
constexpr u64 kCountMask = (1u << 20) - 1, kBytesMask = (1u << 21) - 1;

struct Object {
  u64 count, lacking, bytes, phase;
};

Object unpack(u64 x) {
  return {x & kCountMask, x >> kLackingShift & kCountMask, x >> kBytesShift & kBytesMask,
          x >> kPhaseShift};
}
u64 pack(const Object& o) {
  return o.count | o.lacking << kLackingShift | (o.bytes & kBytesMask) << kBytesShift |
         o.phase << kPhaseShift;
}

// Begins the next phase when nothing is lacking.
u64 settled(Object o) {
  if (o.lacking == 0 && (o.bytes & kBytesMask) == 0) {
    o.lacking = o.count;
    ++o.phase;
  }
  return pack(o);
}

void arrive(Object& o, u64 count) { o.lacking -= count < o.lacking ? count : o.lacking; }

// The host address of an object in this block's or, behind a generic address, in any shared memory;
// 0 after a fault.
u64 object_at(Warp& w, const Ins* i, std::byte* r, int l) {
  const u64 a = (i->flags & kAddress32) != 0 ? row<u32>(r, i->a)[l] : row<u64>(r, i->a)[l];
  u64 at = a + static_cast<u64>(i->imm);
  if (i->space == Space::kShared) {
    const u32 offset = static_cast<u32>(at);
    if (w.shared_bytes < 8 || offset > w.shared_bytes - 8) {
      raise_fault(w, i, FaultKind::kIllegalAddress, l, offset,
                  "access outside shared memory, to offset");
      return 0;
    }
    at = reinterpret_cast<u64>(w.shared) + offset;
  } else if (!find_range(w, i, at, 8)) {
    raise_fault(w, i, FaultKind::kIllegalAddress, l, at, "access outside every allocation, to");
    return 0;
  }
  if (at % 8 == 0) return at;
  raise_fault(w, i, FaultKind::kMisaligned, l, at, "misaligned access to");
  return 0;
}

RawAlias<u64>::Type& word_at(u64 at) { return *reinterpret_cast<RawAlias<u64>::Type*>(at); }

// See MbarrierDo. Shared memory belongs to this thread: plain accesses do.
const Ins* mbarrier(Warp& w, const Ins* i, std::byte* r) {
  const auto what = static_cast<MbarrierDo>(i->detail);
  u32 complete = 0;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u64 at = object_at(w, i, r, l);
    if (at == 0) return stop();
    const u64 state = word_at(at);
    Object object = unpack(state);
    const u32 small = what == MbarrierDo::kWait ? 0 : row<u32>(r, i->b)[l];
    switch (what) {
      case MbarrierDo::kInit: {
        const u64 count = small & kCountMask;
        word_at(at) = pack({count, count, 0, 0});
        break;
      }
      case MbarrierDo::kInvalidate: word_at(at) = 0; break;
      case MbarrierDo::kExpect:
        object.bytes += small;
        word_at(at) = settled(object);
        break;
      case MbarrierDo::kComplete:
        object.bytes -= small;
        word_at(at) = settled(object);
        break;
      case MbarrierDo::kArrive:
      case MbarrierDo::kDrop:
      case MbarrierDo::kExpectAndArrive:
        row<u64>(r, i->d)[l] = state;
        if (what == MbarrierDo::kDrop) object.count -= small < object.count ? small : object.count;
        if (what == MbarrierDo::kExpectAndArrive) object.bytes += small;
        arrive(object, what == MbarrierDo::kExpectAndArrive ? 1 : small);
        word_at(at) = settled(object);
        break;
      case MbarrierDo::kWait:
        if ((row<u64>(r, i->b)[l] ^ state) >> kPhaseShift != 0) complete |= 1u << l;
        break;
      case MbarrierDo::kWaitParity:
        if ((object.phase & 1) != (small & 1)) complete |= 1u << l;
        break;
    }
  }
  if (what >= MbarrierDo::kWait) {
    u32& p = pred(r, i->d);
    p = (p & ~w.mask) | (complete & w.mask);
    note_spin(w);
  }
  return i + 1;
}

// One lane's copy to one block of the cluster; false after a fault.
bool copy_bulk(Warp& w, const Ins* i, int l, u64 to, u64 from, u32 bytes) {
  const auto fault = [&](FaultKind kind, u64 at, const char* what) {
    raise_fault(w, i, kind, l, at, what);
    return false;
  };
  for (const u64 at : {to, from}) {
    if (at % 16 != 0) return fault(FaultKind::kMisaligned, at, "misaligned access to");
    if (bytes != 0 && !find_range(w, i, at, bytes)) {
      return fault(FaultKind::kIllegalAddress, at, "access outside every allocation, to");
    }
  }
  if (bytes % 16 != 0) {
    return fault(FaultKind::kIllegalInstruction, bytes, "copies no multiple of 16 bytes:");
  }
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  if (w.block->check != nullptr) check_bulk_copy(w, i, l, to, from, bytes);
  return true;
}

// Who waits at the object from now on knows of what this warp has copied. An arrival, which may
// come before the copy, says nothing about it.
void hand_over(const Warp& w, u64 object) {
  if (w.block->check == nullptr || !w.block->check->races) return;
  w.block->check->races->release(w.index, object);
}

// cp.async.bulk. d: target, a: source, b: bytes, e: mbarrier (kAnyFlag: there is one), all generic;
// c: which blocks of the cluster get it (kNegated: there is such a mask).
const Ins* bulk_copy(Warp& w, const Ins* i, std::byte* r) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int l = __builtin_ctz(m);
    const u64 to = row<u64>(r, i->d)[l], from = row<u64>(r, i->a)[l];
    const u64 object = (i->flags & kAnyFlag) != 0 ? row<u64>(r, i->e)[l] : 0;
    const u32 bytes = row<u32>(r, i->b)[l];
    const bool several = (i->flags & kNegated) != 0;
    const u32 blocks = several ? row<u32>(r, i->c)[l] & 0xffffu : 1;
    for (u32 left = blocks; left != 0; left &= left - 1) {
      const auto rank = static_cast<u32>(__builtin_ctz(left));
      const u64 target = several ? in_block_of_cluster(w, to, rank) : to;
      const u64 counted = several ? in_block_of_cluster(w, object, rank) : object;
      if (!copy_bulk(w, i, l, target, from, bytes)) return stop();
      if ((i->flags & kAnyFlag) == 0) continue;
      if (counted % 8 != 0 || !find_range(w, i, counted, 8)) {
        return raise_fault(w, i, FaultKind::kIllegalAddress, l, counted,
                           "an mbarrier outside shared memory, at");
      }
      Object o = unpack(word_at(counted));
      o.bytes -= bytes;
      word_at(counted) = settled(o);
      hand_over(w, counted);
    }
  }
  return i + 1;
}

// How many arrivals a state lacks.
const Ins* pending_count(Warp& w, const Ins* i, std::byte* r) {
  const Row<u64>* state = row<u64>(r, i->a);
  Row<u32>* d = row<u32>(r, i->d);
  for (int l = 0; l < kLanes; ++l) {
    put<false, u32>(d, l, static_cast<u32>(unpack(state[l]).lacking), w.lanes);
  }
  return i + 1;
}

#define FARCALL_BOTH(op, ty, f) \
  { handler_key(op, ty), f, f }
const HandlerEntry kEntries[] = {
    FARCALL_BOTH(Op::kMbarrier, Ty::kU64, mbarrier),
    FARCALL_BOTH(Op::kPendingCount, Ty::kU64, pending_count),
    FARCALL_BOTH(Op::kBulkCopy, Ty::kU64, bulk_copy),
};

}  // namespace

HandlerList mbarrier_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
