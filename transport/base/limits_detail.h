// Limits of writing a session down in detail (gpu_server/call_notes.h, detail_watch.h): a part of
// limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// Calls of a session that are remembered, 16 bytes each. A power of two.
inline constexpr std::uint32_t kCallNotes = 1'024;
static_assert((kCallNotes & (kCallNotes - 1)) == 0, "a call finds its place by its number");
// The latest calls that are written down one by one, and kinds of calls in a summary.
inline constexpr std::size_t kCallsTold = 32;
inline constexpr std::size_t kCallKindsTold = 8;
// A summary goes into one value of an audit record.
inline constexpr std::size_t kCallSummaryBytesMax = 240;
// Detail goes back to normal after so long without anything that speaks for more of it.
inline constexpr std::int64_t kDetailCoolS = 30;

}  // namespace farcall::limits
