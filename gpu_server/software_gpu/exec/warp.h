// What a running warp is made of. Data only: the handlers, compiled once per instruction set, share
// these structs and must not share inline code.
//
// A warp holds up to 32 groups: lanes that sit at the same instruction of the same frame. One group
// runs at a time, the others wait for their turn or for something (see GroupState).
// Owner: a BlockRun owns its warps, a Worker its blocks.  Threads: one.
#pragma once
#include <cstddef>
#include <cstdint>

#include "gpu_server/software_gpu/exec/code.h"

namespace farcall::softgpu {

enum class FaultKind : int;  // engine.h
struct FunctionBody;
struct BlockRun;
struct Worker;

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;
inline constexpr int kLanes = 32;

// What a handler returns to leave the run loop. It is above every instruction, so that the loop's
// one comparison with Warp::limit covers it.
[[maybe_unused]] static inline const Ins* stop() {
  return reinterpret_cast<const Ins*>(~std::uintptr_t{63});
}

// A memory range a load or store instruction hit last; checked before asking Memory.
struct RangeCache {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
};

// Registers of one call. Groups of a warp that diverged inside a call share its frame.
struct Frame {
  std::byte* regs = nullptr;
  Frame* caller = nullptr;
  const FunctionBody* function = nullptr;
  const Ins* return_to = nullptr;  // in the caller
  std::uint32_t call_site = 0;     // in the caller's table
  std::uint32_t local_offset = 0;  // where this frame's part of local memory starts
  std::uint32_t depth = 0;
  std::uint32_t lanes = 0;  // lanes that have not returned yet
};

enum class GroupState : std::uint8_t {
  kReady,
  kParked,   // at a warp-wide instruction; waits for the other lanes of its member mask
  kBarrier,  // at a block barrier
};

inline constexpr std::uint8_t kClusterBarrier = 255;

struct Group {
  const Ins* pc = nullptr;
  Frame* frame = nullptr;
  std::uint32_t mask = 0;
  std::uint32_t members = 0;  // kParked: lanes it waits for
  std::uint64_t stamp = 0;    // when it ran last, for fairness
  GroupState state = GroupState::kReady;
  std::uint8_t barrier = 0;  // kBarrier: which, or kClusterBarrier
  bool passed = false;       // kParked before, released: do not wait again
};

// Why a warp stopped running.
enum class Pause : std::uint8_t { kNone, kYield, kSpin, kBlocked, kDone, kFault };

struct alignas(64) Warp {
  std::uint32_t lanes[kLanes];   // all ones for each lane of the running group, else 0
  std::uint32_t mask = 0;        // the running group
  std::uint32_t live = 0;        // lanes that have not exited
  const Ins* limit = nullptr;    // the run loop ends at or above this instruction
  RangeCache* ranges = nullptr;  // of the worker, one per Ins::slot
  std::byte* shared = nullptr;   // of the block
  std::byte* local = nullptr;    // lane 0's local memory
  const std::byte* params = nullptr;
  std::uint32_t shared_bytes = 0;
  std::uint32_t local_stride = 0;  // local memory per lane
  std::uint32_t param_bytes = 0;
  std::int32_t budget = 0;  // backward branches until others get their turn
  Pause pause = Pause::kNone;
  bool spinning = false;  // an instruction that may be part of a spin loop has run
  bool rotate = false;    // the next choice of a group is by age
  std::uint8_t group_count = 0;
  std::uint8_t current = 0;
  std::uint32_t index = 0;            // of this warp in its block
  std::uint32_t cluster_arrived = 0;  // lanes at the cluster's barrier or past their arrival there
  std::uint64_t clock = 0;            // stamps for groups
  Frame* frame = nullptr;             // of the running group
  BlockRun* block = nullptr;
  Worker* worker = nullptr;
  Group groups[kLanes];
};

// --- Out-of-line helpers for handlers of every instruction set ---------------------------------

// Notes a fault of one lane and returns stop().
const Ins* raise_fault(Warp& warp, const Ins* i, FaultKind kind, int lane, std::uint64_t address,
                       const char* what);
// Checks the `bytes` at each running lane's host address; raises the fault itself.
bool check_lanes(Warp& warp, const Ins* i, const std::uint64_t* at, std::uint64_t bytes);
// Raises the fault of the first running lane whose offset leaves a window (shared, local, param)
// or is not aligned, and returns stop().
const Ins* raise_window_fault(Warp& warp, const Ins* i, const std::uint32_t* offset,
                              std::uint32_t window);
// Notes that i may be part of a spin loop: others get their turn soon.
void note_spin(Warp& warp);
// True when `bytes` from `address` may be accessed by i; refreshes i's range cache.
bool find_range(Warp& warp, const Ins* i, std::uint64_t address, std::uint64_t bytes);
// Waits (returns false, the group is parked) or makes the running group hold every live lane of
// `members` that runs this instruction.
bool gather_members(Warp& warp, const Ins* i, std::uint32_t members);

// Any matrix (matrix_ops.cpp), any asynchronous copy (atomics.cpp), any lanes: where the quick ways
// for whole warps end.
const Ins* multiply_matrices(Warp& warp, const Ins* i, std::byte* frame);
const Ins* load_matrix(Warp& warp, const Ins* i, std::byte* frame);
const Ins* copy_each_async(Warp& warp, const Ins* i, std::byte* frame);

// --- Handler tables ----------------------------------------------------------------------------

struct HandlerEntry {
  std::uint32_t key;
  Handler full;
  Handler part;
};
struct HandlerList {
  const HandlerEntry* entries;
  std::size_t count;
};

}  // namespace farcall::softgpu
