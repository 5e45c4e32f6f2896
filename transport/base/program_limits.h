// Limits of what a libcuda.so.1 keeps for the program that loaded it, each with unit and reason.
// They bound a program's own memory by its own calls; what a peer can make us hold is in limits.h,
// which everything includes and which these few would have everybody compile again.
#pragma once
#include <cstddef>

namespace farcall::limits {

// The error log that cuLogsDumpToMemory gives out; CUDA names this figure.
inline constexpr std::size_t kErrorLogBytesMax = 25600;
inline constexpr std::size_t kErrorLogLineBytesMax = 512;
// Callbacks of one kind that a program has registered at a time; CUDA's profilers use one.
inline constexpr std::size_t kCallbacksMax = 256;
// Contexts with core dump settings of their own, functions with settings for cuLaunch: as many as a
// program without a leak has, since nothing tells when those end.
inline constexpr std::size_t kSettledContextsMax = 4096;
inline constexpr std::size_t kSettledFunctionsMax = 65536;
// CU_COREDUMP_FILE and _PIPE: 1023 characters and a NUL, says CUDA.
inline constexpr std::size_t kCoredumpTextBytes = 1024;
// Run-time links of one session that have not been destroyed. The worker keeps two log buffers of
// 16 KiB for each.
inline constexpr std::size_t kLinksMax = 256;

static_assert(2 * kErrorLogLineBytesMax <= kErrorLogBytesMax, "the error log holds some lines");

}  // namespace farcall::limits
