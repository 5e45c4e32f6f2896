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
// Registers, local and shared memory of one block, and of the blocks of a launch that one host
// thread keeps while they wait.
inline constexpr std::uint64_t kBlockBytesMax = 2u << 30;
inline constexpr std::uint64_t kResidentBytesMax = 4ull << 30;

static_assert(kFrameBytesMax < 1u << 31, "a place in a frame has 31 bits");
static_assert(kLocalBytesMax * 1024 <= kBlockBytesMax, "a full block of full threads runs");

}  // namespace farcall::softgpu
