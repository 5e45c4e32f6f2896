// BlockCheck: what a checked launch keeps about one resident block, beside the block itself.
//
// checked.cpp holds the handlers that look at it before and after the ordinary ones; block.cpp and
// matrix_ops.cpp call the functions below where something begins or ends that no single instruction
// of a lane shows.
// Owner: BlockRun; null in a launch that is not checked.  Threads: its worker's.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "gpu_server/software_gpu/exec/race.h"

namespace farcall::softgpu {

struct BlockRun;
struct Warp;
struct Ins;
struct Worker;
class Checker;
enum class FaultKind : int;

// Ins::flags of loads and stores that only checks look at; bits of kFtz and kSat, which no access
// has.
inline constexpr std::uint16_t kStrong = 1 << 2;    // volatile, relaxed, acquire or release
inline constexpr std::uint16_t kCallSlot = 1 << 3;  // a parameter or result of a call, which may be
                                                    // passed on unwritten

struct BlockCheck {
  Checker* checker = nullptr;
  std::optional<RaceBook> races;       // where races are looked for and there is shared memory
  std::vector<std::uint8_t> shared;    // 1 for each byte that was written
  std::vector<std::uint8_t> local;     // the same, as BlockRun::local lies
  std::uint32_t own_shared_bytes = 0;  // before what cooperative groups keep for themselves
};

// Before the block's first instruction.
void begin_block_check(Worker& worker, BlockRun& block);
// A warp begins; with kernels that run their warps one by one, in the place of another.
void begin_warp_check(Warp& warp);
// A barrier of the block is complete, its warps not yet released. everybody: no count was given.
void check_barrier(BlockRun& block, unsigned number, bool everybody);
// A matrix instruction is about to touch these bytes for all its lanes.
void check_matrix_line(Warp& warp, const Ins* i, int lane, std::uint64_t at, std::uint64_t bytes);
// A bulk copy has been done by this lane.
void check_bulk_copy(Warp& warp, const Ins* i, int lane, std::uint64_t to, std::uint64_t from,
                     std::uint64_t bytes);
// A fault, told with everything that is known about the address (0: there is none).
void report_fault(Warp& warp, const Ins* i, int lane, std::uint64_t address, const char* what);

}  // namespace farcall::softgpu
