// Limits of measuring what security costs (transport/link/cost_meter.h, gpu_server/call_notes.h): a
// part of limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// Records from here on are timed by the thread's own processor time, which takes a system call but
// does not count what others ran meanwhile; shorter ones by the monotonic clock, which takes 20 ns.
inline constexpr std::size_t kLongRecordBytes = 32 * 1024;
// One record of so many is timed, on average: 50 ns every 64 records of 35 ns and more each, and
// 500 ns every 16 records of 3 µs and more. Both are less than 1 % of what a record costs in all.
inline constexpr std::uint32_t kShortRecordsEach = 64;
inline constexpr std::uint32_t kLongRecordsEach = 16;
// A short record that took longer was interrupted: 32 KiB at 0.2 GB/s take 160 µs.
inline constexpr std::int64_t kShortRecordNsMost = 200'000;
// What a record costs beside its bytes, in bytes that cost as much: 300 with ipsec-mb, 800 with
// EVP. Between records of different lengths it only has to be about right.
inline constexpr std::uint64_t kRecordCostBytes = 512;
// A worker tells what its session's records cost after so many calls, and after each payload.
inline constexpr std::uint32_t kCostEveryCalls = 64;
static_assert(kShortRecordsEach >= kLongRecordsEach,
              "what is timed more dearly is timed more often "
              "only because it is rarer");

}  // namespace farcall::limits
