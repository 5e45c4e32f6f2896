// Limits of lease tokens (security/lease_token.h): a part of limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/base/limits.h"

namespace farcall::limits {

// A token travels in the client's hello, beside a version text. The longest one has 16 devices by
// UUID and every text at its limit.
inline constexpr std::size_t kLeaseBytesMax = 2048;
inline constexpr std::size_t kLeasePurposeBytesMax = 128;
// A lease names devices of one server; more of them than this and it leases the whole server.
inline constexpr std::size_t kTokenDevicesMax = 16;
inline constexpr std::size_t kTokenDeviceBytesMax = 48;  // "GPU-" and a UUID, "MIG-" and one
// Access is lent, not given: a week, as long as a certificate lives by default. Work that takes
// longer renews its lease.
inline constexpr std::int64_t kLeaseSecondsMax = 7 * 86'400;
// Tokens in one file: one for each server of a client.
inline constexpr std::size_t kLeasesPerFileMax = kServersMax;
// Issuers that one server believes: the scheduler's, one to change over to, a few by hand.
inline constexpr std::size_t kLeaseKeysMax = 16;
// Leases on the list of those that were taken back; it forgets each once it would have expired.
// 24 bytes each: the list stays below what is read of a file (64 KiB).
inline constexpr std::size_t kRevokedLeasesMax = 1024;
// Leases that one server remembers at a time, with those that have no session any more: 16 MiB.
inline constexpr std::size_t kLeasesKnownMax = 4096;
// How long a client waits for a place in its lease that is just being given back, as that of a
// connection that was only tried is.
inline constexpr int kLeasePlaceWaitMs = 3'000;

static_assert(64 + 64 + kLeaseBytesMax <= kHelloBytesMax, "a token fits a hello");
static_assert(kRevokedLeasesMax * 24 * 4 / 3 + 4096 <= 64 * 1024, "a full list can be read");

}  // namespace farcall::limits
