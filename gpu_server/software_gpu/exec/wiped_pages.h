// Overwriting memory that is given back, where the driver's user asked for that.
//
//   if (wipes_freed()) wipe_present(base, bytes);
//
// Pages that a process gives back keep what was in them until the kernel gives them out again.
// Threads: any.
#pragma once
#include <cstdint>

namespace farcall::softgpu {

// Off at the start; transport/cuda/wiped_memory.h turns it on.
bool wipes_freed();
void set_wipes_freed(bool on);

// Overwrites those of the pages that are there: writing to others would only fetch some.
//   base  a whole page; all of it may be written
void wipe_present(std::uint64_t base, std::uint64_t bytes);

// The same for a file in memory. A file that cannot be mapped is left as it is, and logged.
void wipe_file(int file, std::uint64_t bytes);

}  // namespace farcall::softgpu
