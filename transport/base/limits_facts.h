// Limits of what workers tell their supervisor (gpu_server/facts.h): a part of limits.h that few
// need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// Bytes of one record in the pipe. A pipe takes a write of up to 4,096 bytes whole or not at all.
inline constexpr std::size_t kFactBytes = 64;
static_assert(4096 % kFactBytes == 0, "records never straddle a page of the pipe");
// Bytes taken from the pipe at a time: what an unprivileged pipe holds at most.
inline constexpr std::size_t kFactsTakenBytes = std::size_t{64} * 1024;
// Records of one session that go to the audit log at once, and then one for each kFactEveryMs: a
// program loads some hundred modules at its start. A record takes about 400 bytes there, so that a
// hostile worker fills a disk no faster than 35 MB a day.
inline constexpr int kFactsAtOnce = 1'000;
inline constexpr std::int64_t kFactEveryMs = 1'000;

}  // namespace farcall::limits
