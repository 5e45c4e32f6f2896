// What FARCALL_SOFTGPU_CHECK asks for, as the driver sees it: the process's one Checker, what its
// own writes to device memory mean for it, and what it says when the process ends.
//
//   start_checks(&::secure_getenv);                      // once; see active_checker()
//   note_copied(to, from, bytes);                        // free where nothing is checked
//
// FARCALL_SOFTGPU_CHECK       1, or words with commas: memory, init, race, leak
// FARCALL_SOFTGPU_CHECK_EXIT  1 … 255: what the process exits with when problems were found
// Reports go to stderr as they are found, the summary when the process ends by exit().
// Owner: the process, for ever.  Threads: any.
#pragma once
#include <cstdint>

#include "gpu_server/software_gpu/addresses.h"
#include "gpu_server/software_gpu/exec/checker.h"

namespace farcall::softgpu {

void start_checks(char* (*lookup)(const char* name));

// For device memory that the driver itself has written or copied; other addresses do no harm.
void note_written(std::uint64_t address, std::uint64_t bytes);
void note_copied(std::uint64_t to, std::uint64_t from, std::uint64_t bytes);
// Device memory that a program was given and took back.
void note_given(const Allocation& allocation);
void note_taken_back(const Allocation& allocation);
// The same, when its context ends first: a leak.
void note_left(const Allocation& allocation);

}  // namespace farcall::softgpu
