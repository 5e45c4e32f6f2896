// Limits of how records are sealed (transport/link/cipher.h, strength.h): a part of limits.h that
// few need.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/base/limits.h"

namespace farcall::limits {

// Bytes under one key, as a power of two: a policy may ask for as little as 16 MiB, which costs a
// key change (5 µs) every 1.6 ms of sealing; nothing allows more than limits::kRekeyBytes.
inline constexpr std::uint8_t kRekeyLog2Min = 24;
inline constexpr std::uint8_t kRekeyLog2Max = 36;
static_assert(std::uint64_t{1} << kRekeyLog2Max == kRekeyBytes);

// The controller of a lane (strength.h). Changing keys takes about this long, and is to take no
// more than this part of the time spent sealing; where that would be more often than every 1 GiB,
// nothing is gained.
inline constexpr double kKeyChangeNs = 10'000;
inline constexpr double kKeyChangeShare = 1e-4;
inline constexpr std::uint64_t kUsualRekeyBytesMin = std::uint64_t{1} << 30;
// Sealing one record takes no longer than this, or the far end waits for its first bytes.
inline constexpr double kRecordSealNsMax = 100'000;
// A weaker cipher, where policy allows one, from this part of a payload's time spent sealing on,
// and back below that part: between them nothing changes.
inline constexpr double kBusySealShare = 0.5;
inline constexpr double kIdleSealShare = 0.2;
// What is measured counts for so much of what is known; so many payloads in a row must agree.
inline constexpr double kStrengthEwma = 0.25;
inline constexpr int kStrengthPayloads = 4;
// At most two changes of the cipher in a minute.
inline constexpr std::int64_t kStrengthHoldNs = 30'000'000'000;
static_assert(kIdleSealShare < kBusySealShare);

// Helper threads (crypto_load.h) that work for more than this part of a window, on average, get
// another one beside them, or, where there is no more, are told of, once a minute. A window in
// which nobody asked for so long is no measure.
inline constexpr double kCryptoBusyMean = 0.7;
inline constexpr std::int64_t kCryptoWindowNs = 1'000'000'000;
inline constexpr std::int64_t kCryptoPauseNs = 3'000'000'000;
inline constexpr std::int64_t kCryptoAlertNs = 60'000'000'000;

// A server's file of floors (gpu_server/traffic_policy.h).
inline constexpr std::size_t kTrafficFileBytesMax = 64 * 1024;

}  // namespace farcall::limits
