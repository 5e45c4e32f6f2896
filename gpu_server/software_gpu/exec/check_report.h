// What checks tell of one instruction of one lane; see checker.h for who hears it.
// Threads: the worker's of the warp.
#pragma once
#include <cstdint>

#include "gpu_server/software_gpu/exec/race.h"
#include "gpu_server/software_gpu/exec/warp.h"

namespace farcall::softgpu {

// A read of `bytes` that nobody wrote, at the host's address.
void report_unwritten(Warp& warp, const Ins* i, int lane, std::uint64_t at, std::uint64_t bytes);

struct SharedAccess {
  std::uint32_t offset;
  std::uint32_t bytes;
  bool writes;
};
void report_race(Warp& warp, const Ins* i, int lane, const SharedAccess& access,
                 const RaceBook::Other& other);

}  // namespace farcall::softgpu
