// shfl.sync: a value from another lane.
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"

namespace farcall::softgpu {
namespace {

enum Mode : u8 { kUp, kDown, kButterfly, kIndex };

template <Mode kMode>
inline s32 source_lane(s32 lane, s32 b, s32 segment) {
  switch (kMode) {
    case kUp: return lane - b;
    case kDown: return lane + b;
    case kButterfly: return lane ^ b;
    default: return (lane & segment) | (b & ~segment);
  }
}

// d = a of the source lane, or the lane's own a where the source lies outside the segment; e says
// which. b: lane operand, c: clamp and segment mask, f: member mask.
template <Mode kMode>
const Ins* shfl(Warp& w, const Ins* i, std::byte* r) {
  const Row<u32>* f = row<u32>(r, i->f);
  u32 members = 0;
  FARCALL_LANES members |= f[l] & w.lanes[l];
  if ((members & w.live & ~w.mask) != 0 && !gather_members(w, i, members)) return stop();
  const Row<u32>* b = row<u32>(r, i->b);
  const Row<u32>* c = row<u32>(r, i->c);
  const Row<u32>* a = row<u32>(r, i->a);
  alignas(64) u32 from[kLanes];
  alignas(64) u32 value[kLanes];
  u32 valid = 0;
  FARCALL_LANES {
    const s32 clamp = static_cast<s32>(c[l] & 31), segment = static_cast<s32>(c[l] >> 8 & 31);
    const s32 max_lane = (l & segment) | (clamp & ~segment);
    const s32 j = source_lane<kMode>(l, static_cast<s32>(b[l] & 31), segment);
    const bool ok = kMode == kUp ? j >= max_lane : j <= max_lane;
    from[l] = static_cast<u32>(ok ? j : l) & 31;
    valid |= ok ? 1u << l : 0u;
  }
  // From a lane that does not take part comes 0. The manual leaves it open, but programs add such
  // values up and expect nothing to change.
  FARCALL_LANES value[l] = a[from[l]] & w.lanes[from[l]];
  Row<u32>* d = row<u32>(r, i->d);
  FARCALL_LANES put<false, u32>(d, l, value[l], w.lanes);
  u32& p = pred(r, i->e);
  p = (p & ~w.mask) | (valid & w.mask);
  return i + 1;
}

#define FARCALL_SHFL(mode) \
  { handler_key(Op::kShfl, Ty::kU32, mode), shfl<mode>, shfl<mode> }
const HandlerEntry kEntries[] = {FARCALL_SHFL(kUp), FARCALL_SHFL(kDown), FARCALL_SHFL(kButterfly),
                                 FARCALL_SHFL(kIndex)};

}  // namespace

namespace FARCALL_ISA {
HandlerList exchange_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
