// Limits of the authority's service and of what renews by itself: a part of limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/base/limits_quote.h"

namespace farcall::limits {

// A signing request for a P-256 key without a name has 200 bytes; others' tools add names.
inline constexpr std::size_t kKeyRequestBytesMax = 2048;
// A leaf certificate with 32 names.
inline constexpr std::size_t kLeafCertificateBytesMax = 4096;
// What one message to the authority may have: read before it is known to be any good.
inline constexpr std::size_t kAuthorityRequestBytesMax = 10 * 1024;
static_assert(kKeyRequestBytesMax + kLeafCertificateBytesMax + kQuoteBytesMax + 1024 <=
              kAuthorityRequestBytesMax);
// The answer: a leaf, its authority and the root, PEM.
inline constexpr std::size_t kAuthorityReplyBytesMax = 32 * 1024;
inline constexpr std::size_t kAuthorityRefusalBytesMax = 1024;

// Connections served at a time; each has a thread and this long for all it wants.
inline constexpr std::size_t kAuthorityConnectionsMax = 64;
inline constexpr int kAuthorityConnectionMs = 5'000;
// What one member, or one address without a certificate, may ask in a minute: a fleet behind one
// address joins by fives, and a guess at a token has 2^-256.
inline constexpr int kAuthorityAsksAMinute = 10;
// Of members and addresses whose asking is counted at a time; beyond that all share one count.
inline constexpr std::size_t kAuthorityCountedMax = 4096;
// Refusals of connections without a certificate that get a record each in a minute.
inline constexpr int kAuthorityRecordsAMinute = 60;

// One-time tokens that wait for their servers, and how long they may.
inline constexpr std::size_t kJoinTokensMax = 1'000;
inline constexpr std::int64_t kJoinTokenSecondsMax = 7 * 86'400;
inline constexpr std::size_t kJoinTokensBytesMax = 4 * 1024 * 1024;
static_assert(kJoinTokensMax * 3'000 <= kJoinTokensBytesMax);

// What renews by itself: at half life, up to this part of a life earlier, so that a fleet made in
// one minute does not come in one minute; where that fails, again after a second, then after twice
// as long, up to an hour or a sixteenth of the life, whichever is shorter.
inline constexpr int kRenewalJitterPercent = 10;
inline constexpr std::int64_t kRenewalRetrySeconds = 1;
inline constexpr std::int64_t kRenewalRetrySecondsMax = 3'600;
// With this part of its life left, a certificate that could not be renewed is warned of.
inline constexpr int kRenewalWarnPercent = 33;

}  // namespace farcall::limits
