// Checks of addresses that the fast ways of loads and stores could not settle, and what a fault
// says.
#include <cinttypes>
#include <cstdio>

#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

bool in_window(std::uint64_t address, std::uint64_t bytes, const std::byte* window,
               std::uint64_t window_bytes) {
  const std::uint64_t base = reinterpret_cast<std::uint64_t>(window);
  return address >= base && bytes <= window_bytes && address - base <= window_bytes - bytes;
}

// Shared memory of the block's cluster, the block's local memory, the kernel's parameters.
bool in_own_memory(const Warp& w, std::uint64_t address, std::uint64_t bytes) {
  const std::byte* const shared = w.block->first->shared.get();
  const std::uint64_t shared_bytes =
      std::uint64_t{w.shared_bytes} * w.worker->launch->cluster_blocks;
  const std::byte* const local = w.block->local.get();
  const std::uint64_t local_bytes = std::uint64_t{w.local_stride} * kLanes * w.block->warp_count;
  return in_window(address, bytes, shared, shared_bytes) ||
         in_window(address, bytes, local, local_bytes) ||
         in_window(address, bytes, w.params, w.param_bytes);
}

}  // namespace

const Ins* raise_fault(Warp& w, const Ins* i, FaultKind kind, int lane, std::uint64_t address,
                       const char* what) {
  LaunchState& launch = *w.worker->launch;
  if (launch.checker != nullptr) report_fault(w, i, lane, address, what);
  const unsigned thread = w.index * kLanes + static_cast<unsigned>(lane);
  const unsigned nx = launch.block[0], ny = launch.block[1];
  char text[512];
  std::snprintf(text, sizeof text,
                "kernel %s, block (%u,%u,%u), thread (%u,%u,%u), PTX line %u: %s",
                launch.kernel->name.c_str(), w.block->ctaid[0], w.block->ctaid[1],
                w.block->ctaid[2], thread % nx, thread / nx % ny, thread / nx / ny, i->line, what);
  std::string whole = text;
  if (address != 0) {
    std::snprintf(text, sizeof text, " 0x%" PRIx64, address);
    whole += text;
  }
  {
    const std::lock_guard<std::mutex> held(launch.fault_mutex);
    if (launch.fault.kind == FaultKind::kNone) launch.fault = Fault{kind, std::move(whole)};
  }
  launch.stopped.store(true, std::memory_order_relaxed);
  w.pause = Pause::kFault;
  return stop();
}

bool find_range(Warp& w, const Ins* i, std::uint64_t address, std::uint64_t bytes) {
  Worker& worker = *w.worker;
  const auto covers = [&](std::uint64_t base, std::uint64_t size) {
    return address >= base && bytes <= size && address - base <= size - bytes;
  };
  for (const RangeCache& recent : worker.recent) {
    if (!covers(recent.base, recent.bytes)) continue;
    w.ranges[i->slot] = recent;
    return true;
  }
  // Before the tree of allocations, which has a lock: many a generic address is the block's own.
  if (i->space == Space::kGeneric && in_own_memory(w, address, bytes)) return true;
  const std::optional<Memory::Range> range = worker.launch->memory->find(address);
  if (!range || !covers(range->base, range->bytes)) return false;
  w.ranges[i->slot] = RangeCache{range->base, range->bytes};
  worker.recent[worker.next_recent++ % 4] = w.ranges[i->slot];
  return true;
}

bool check_lanes(Warp& w, const Ins* i, const std::uint64_t* at, std::uint64_t bytes) {
  for (std::uint32_t m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    if ((at[lane] & (bytes - 1)) != 0) {
      raise_fault(w, i, FaultKind::kMisaligned, lane, at[lane], "misaligned access to");
      return false;
    }
    const RangeCache& known = w.ranges[i->slot];
    if (at[lane] >= known.base && bytes <= known.bytes &&
        at[lane] - known.base <= known.bytes - bytes) {
      continue;
    }
    if (!find_range(w, i, at[lane], bytes)) {
      raise_fault(w, i, FaultKind::kIllegalAddress, lane, at[lane],
                  "access outside every allocation, to");
      return false;
    }
  }
  return true;
}

const Ins* raise_window_fault(Warp& w, const Ins* i, const std::uint32_t* offset,
                              std::uint32_t window) {
  const std::uint32_t bytes = 1u << i->size_log2;
  for (std::uint32_t m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    if (window < bytes || offset[lane] > window - bytes) {
      const char* const what =
          i->space == Space::kShared  ? "access outside shared memory, to offset"
          : i->space == Space::kLocal ? "access outside local memory, to offset"
                                      : "access outside parameters, to offset";
      return raise_fault(w, i, FaultKind::kIllegalAddress, lane, offset[lane], what);
    }
    if ((offset[lane] & (bytes - 1)) != 0) {
      return raise_fault(w, i, FaultKind::kMisaligned, lane, offset[lane],
                         "misaligned access to offset");
    }
  }
  return stop();
}

}  // namespace farcall::softgpu
