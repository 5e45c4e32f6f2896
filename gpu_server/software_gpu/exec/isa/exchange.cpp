// shfl.sync: a value from another lane.
#if defined(__AVX512F__)
#  include <immintrin.h>
#endif

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

// value[l] = a[from[l]]
inline void pick(const Row<u32>* a, const u32* from, u32* value) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_load_si512(a), high = _mm512_load_si512(a + 16);
  for (int l = 0; l < kLanes; l += 16) {
    const __m512i where = _mm512_load_si512(from + l);
    _mm512_store_si512(value + l, _mm512_permutex2var_epi32(low, where, high));
  }
#else
  FARCALL_LANES value[l] = a[from[l]];
#endif
}

// d = a of the source lane, or the lane's own a where the source lies outside the segment; e says
// which. b: lane operand, c: clamp and segment mask, f: member mask.
template <Mode kMode, bool kFull>
const Ins* shfl(Warp& w, const Ins* i, std::byte* r) {
  if ((w.live & ~w.mask) != 0) {
    const Row<u32>* f = row<u32>(r, i->f);
    u32 members = 0;
    FARCALL_LANES members |= f[l] & w.lanes[l];
    if ((members & w.live & ~w.mask) != 0 && !gather_members(w, i, members)) return stop();
  }
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
  pick(a, from, value);
  if constexpr (!kFull) {
    alignas(64) u32 takes_part[kLanes];
    pick(w.lanes, from, takes_part);
    FARCALL_LANES value[l] &= takes_part[l];
  }
  Row<u32>* d = row<u32>(r, i->d);
  FARCALL_LANES put<kFull, u32>(d, l, value[l], w.lanes);
  u32& p = pred(r, i->e);
  p = (p & ~w.mask) | (valid & w.mask);
  return i + 1;
}

#define FARCALL_SHFL(mode) \
  { handler_key(Op::kShfl, Ty::kU32, mode), shfl<mode, true>, shfl<mode, false> }
const HandlerEntry kEntries[] = {FARCALL_SHFL(kUp), FARCALL_SHFL(kDown), FARCALL_SHFL(kButterfly),
                                 FARCALL_SHFL(kIndex)};

}  // namespace

namespace FARCALL_ISA {
HandlerList exchange_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
