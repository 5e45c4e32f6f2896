// Limits of certificates, deny lists and the files they come from: a part of limits.h that few
// need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// A deny list holds what was revoked within a certificate's longest life, 30 days; an entry takes
// 40 to 60 bytes, a third more as PEM. A list that would be longer means a pool to make anew.
inline constexpr std::size_t kDeniedMax = 10'000;
inline constexpr std::size_t kDenyListBytesMax = 1024 * 1024;
static_assert(kDeniedMax * 100 <= kDenyListBytesMax);
// Lists in one file: one for each authority of a pool, and those of its predecessors.
inline constexpr std::size_t kDenyListsMax = 8;
// RFC 5280, 4.1.2.2 and 5.2.3: serial numbers and list numbers have up to 20 bytes; ours have 16
// and 8.
inline constexpr std::size_t kSerialBytesMax = 20;
// How far the clocks of the machines of a pool may differ.
inline constexpr std::int64_t kClockSlackSeconds = 300;
// An authority's index (security/ca_index.h): some 200,000 certificates, of which a large pool
// issues 50,000 a year.
inline constexpr std::size_t kIndexBytesMax = 64 * 1024 * 1024;

// How often a server looks at its certificate, key and deny list where the kernel does not tell of
// changes (network file systems): a revocation is to take effect within a second.
inline constexpr int kFileLookMs = 400;
// Certificate and key are replaced one after the other: for this long a pair that does not fit is
// no mistake yet.
inline constexpr std::int64_t kFilesSettleMs = 2'000;
// Between two lines about a deny list whose date has passed.
inline constexpr std::int64_t kStaleReminderMs = 3'600'000;

}  // namespace farcall::limits
