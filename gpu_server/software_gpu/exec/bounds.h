// Bounds of what one kernel may take of the host's memory, each with its reason. A kernel comes
// from anybody: without these a page of PTX could ask for all of it. transport/base/limits.h bounds
// the text; these bound what the text is made into.
#pragma once
#include <cstdint>

namespace farcall::softgpu {

// Local memory of one thread, all functions of the deepest chain of calls: as devices allow.
inline constexpr std::uint64_t kLocalBytesMax = 512 * 1024;
// Local memory of a kernel whose calls recurse or go through pointers: their depth is unknown.
inline constexpr std::uint64_t kUnknownStackBytes = 16 * 1024;
// Calls inside calls: each takes at least 16 bytes of such a stack, as devices' return addresses.
inline constexpr std::uint32_t kCallDepthMax = kUnknownStackBytes / 16;
// Registers and constants of a warp in one function, and of all functions of a kernel. nvcc's
// largest kernels have some 50,000 registers: 12 MiB.
inline constexpr std::uint64_t kFrameBytesMax = 512u << 20;
inline constexpr std::uint64_t kKernelBytesMax = 1u << 30;
// Registers of the calls under way in one host thread.
inline constexpr std::uint64_t kCallBytesMax = 1u << 30;
// Registers, local and shared memory of one block or cluster, and of all blocks of one launch that
// are under way at once, whichever host threads they are with. Launches side by side have as much
// each.
inline constexpr std::uint64_t kBlockBytesMax = 2u << 30;
inline constexpr std::uint64_t kResidentBytesMax = 4ull << 30;

// Host threads that may work on one launch, at least 1, and clusters that each of them may have
// under way while they wait for something, at least 1: together within kResidentBytesMax.
constexpr std::uint64_t workers_max(std::uint64_t cluster_bytes) {
  const std::uint64_t room = kResidentBytesMax / (cluster_bytes + 1);
  return room > 1 ? room : 1;
}
constexpr std::uint64_t resident_max(std::uint64_t cluster_bytes, std::uint64_t workers) {
  const std::uint64_t room = kResidentBytesMax / (cluster_bytes + 1) / workers;
  return room > 1 ? room : 1;
}

static_assert(kFrameBytesMax < 1u << 31, "a place in a frame has 31 bits");
static_assert(kBlockBytesMax < kResidentBytesMax, "any block may be under way");
static_assert(kLocalBytesMax * 1024 <= kBlockBytesMax, "a full block of full threads runs");

}  // namespace farcall::softgpu
