// Limits of TPM quotes, and of the lists that they are judged by: a part of limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// TPMS_ATTEST of a quote has 145 bytes with our kind of key; names of longer hashes add 32.
inline constexpr std::size_t kQuoteAttestBytesMax = 256;
// All that goes to the authority: that, 24 values of 32 bytes, key, signature and header.
inline constexpr std::size_t kQuoteBytesMax = 2048;
static_assert(kQuoteAttestBytesMax + 24 * 32 + 256 <= kQuoteBytesMax);

// A golden set: classes of machines, and values that one PCR of a class may have. A fleet in the
// middle of an update of firmware and kernel has a handful.
inline constexpr std::size_t kGoldenBytesMax = 256 * 1024;
inline constexpr std::size_t kGoldenClassesMax = 64;
inline constexpr std::size_t kGoldenServersMax = 1'000;
inline constexpr std::size_t kGoldenValuesMax = 32;

// Servers whose attestation keys an authority knows; a line has 250 bytes at most.
inline constexpr std::size_t kAttestedMax = 10'000;
inline constexpr std::size_t kAttestedBytesMax = 4 * 1024 * 1024;
static_assert(kAttestedMax * 250 <= kAttestedBytesMax);

}  // namespace farcall::limits
