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

// --- graphs --------------------------------------------------------------------------------------
// What a list of a graph (its nodes, its edges) may have, and what of it one reply carries. Graphs
// of large models have tens of thousands of nodes; a server copies the list for each page of it.
inline constexpr std::size_t kGraphListItemsMax = 1 << 20;
inline constexpr std::size_t kGraphPageItems = 1024;
static_assert(kGraphPageItems * 24 <= 48 * 1024, "a page of edges fits an answer (limits.h)");

}  // namespace farcall::limits
