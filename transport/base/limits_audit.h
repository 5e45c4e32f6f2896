// Limits of the audit log (security/audit.h): a part of limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// Bytes of one value of a record before it is escaped; the rest is cut off. Identity URIs are at
// most 64 + 64 + 64 and some; what is longer was made up by a peer.
inline constexpr std::size_t kAuditValueBytesMax = 256;
inline constexpr std::size_t kAuditNameBytesMax = 32;  // of a kind, a role and a detail's name
inline constexpr std::size_t kAuditDetailsMax = 12;    // of one record
// A line: every value at its longest, every byte of it escaped to six.
inline constexpr std::size_t kAuditLineBytesMax = 32 * 1024;
static_assert((kAuditDetailsMax + 4) * (6 * kAuditValueBytesMax + kAuditNameBytesMax + 8) + 1024 <
              kAuditLineBytesMax);

// A file, after which the next is begun: some 200,000 sessions.
inline constexpr std::uint64_t kAuditFileBytes = 64 * 1024 * 1024;
// Files of one log that a verifier opens; 64 TiB.
inline constexpr std::size_t kAuditFilesMax = 1'000'000;

// A checkpoint signs what came since the last: at the latest after so many records or so long.
inline constexpr std::uint64_t kAuditCheckpointRecords = 1'000;
inline constexpr std::int64_t kAuditCheckpointMs = 60'000;
// How often a log that cannot be written is tried again while nobody asks.
inline constexpr std::int64_t kAuditRetryMs = 1'000;
// Records nobody waits for, held back while the log cannot be written: about 1 MiB. What comes
// beyond is counted and the count recorded.
inline constexpr std::size_t kAuditHeldMax = 4'096;
// Records of one write, so that nobody waits behind an endless one.
inline constexpr std::size_t kAuditBatchMax = 1'024;

// Refused connections that get a record of their own in a minute; the rest are counted. By people
// who could not show a certificate of the pool, and by those who could.
inline constexpr int kAuditStrangersAMinute = 20;
inline constexpr int kAuditRefusalsAMinute = 200;

}  // namespace farcall::limits
