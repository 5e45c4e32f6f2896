// cp.async of a full warp whose eights are neighbours on both sides: four copies instead of 32.
// Everything else goes to the general handler (atomics.cpp).
#include "gpu_server/software_gpu/exec/fence.h"
#include "gpu_server/software_gpu/exec/isa/eights.h"
#include "gpu_server/software_gpu/exec/isa/fill.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"

namespace farcall::softgpu {
namespace {

// Bytes to read, in c: whether they are all there is.
inline bool is_whole(const Row<u32>* wanted, u32 bytes) {
  u32 less = 0;
  FARCALL_LANES less |= wanted[l] < bytes ? 1u : 0u;
  return less == 0;
}

FARCALL_KERNEL_MEMORY const Ins* copy_sixteens(Warp& w, const Ins* i, std::byte* r) {
  constexpr u32 kBytes = 16, kRun = 8 * kBytes;
  Ins source = *i;
  source.a = i->b;
  source.imm = static_cast<s32>(i->table);
  source.space = Space::kGlobal;
  Eights to, from;
  const bool is_plain = i->size_log2 == 4 && is_whole(row<u32>(r, i->c), kBytes) &&
                        find_eights(w, i, r, to) == Runs::kNeighbours &&
                        find_eights(w, &source, r, from) == Runs::kNeighbours;
  if (!is_plain) return copy_each_async(w, i, r);
  for (int q = 0; q < 4; ++q) {
    __builtin_memcpy(reinterpret_cast<void*>(to.at[q]), reinterpret_cast<const void*>(from.at[q]),
                     kRun);
  }
  return i + 1;
}

const HandlerEntry kEntries[] = {
    {handler_key(Op::kCopyAsync, Ty::kU32), copy_sixteens, copy_each_async},
};

}  // namespace

namespace FARCALL_ISA {
HandlerList async_copy_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }
}  // namespace FARCALL_ISA

}  // namespace farcall::softgpu
