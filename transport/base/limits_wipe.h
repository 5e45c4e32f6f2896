// Limits of wiping what a tenant leaves (gpu_server/wiped_end.h, scrub.h): a part of limits.h that
// few need.
#pragma once
#include "transport/base/limits.h"

namespace farcall::limits {

// Mappings of a process that are overwritten at its end; the kernel allows 65,530 by default.
inline constexpr std::size_t kWipedRangesMax = 65'536;
// Pipes that are overwritten: what kernels print, and what they complain.
inline constexpr std::size_t kWipedPipesMax = 2;
// How long a worker's end waits for its other threads to stop. They do at once, unless a driver's
// thread has signals blocked: then it sleeps in the kernel and touches nothing.
inline constexpr int kParkMs = 100;
// A worker that is to end may go on overwriting device memory for as long as it makes progress, but
// no longer than this: 80 GB take a GPU 0.1 s, and a CPU overwrites 1 GB in 0.4 s.
inline constexpr int kScrubGraceMs = 6'000;
// Then it overwrites its own memory. One that has not ended after kWorkerGraceMs and this is
// killed.
inline constexpr int kWipeGraceMs = 10'000;
// Of device memory, what a context's end may take to read back what it has overwritten; the rest is
// told as not read.
inline constexpr int kVerifyMs = 2'000;
inline constexpr std::size_t kVerifyPieceBytes = std::size_t{4} << 20;
static_assert(kScrubGraceMs >= 2 * kVerifyMs);
// Overwritten at a time, so that progress shows.
inline constexpr std::size_t kScrubPieceBytes = std::size_t{64} << 20;
static_assert(kWipeGraceMs > kScrubGraceMs + kParkMs);

}  // namespace farcall::limits
