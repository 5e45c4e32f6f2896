// Limits of containment (gpu_server/containment.h, quarantine.h): a part of limits.h that few need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// How often the numbers of a session are looked at. From the look that finds one too high to the
// frozen worker it takes milliseconds: in all less than the 2 s that are promised.
inline constexpr int kContainmentLookMs = 500;
// How long a worker may take to stop once it was told to; the kernel stops it on its next way out.
inline constexpr int kFreezeMs = 1'000;
static_assert(kContainmentLookMs + kFreezeMs < 2'000);
// A window is forgotten piece by piece, this many of them.
inline constexpr int kContainmentSlices = 12;
inline constexpr std::int64_t kContainmentWindowMinS = 1;
inline constexpr std::int64_t kContainmentWindowMaxS = 86'400;
inline constexpr std::size_t kContainmentRulesMax = 256;
inline constexpr std::size_t kContainmentFileBytesMax = std::size_t{1} << 20;

// Cases that are kept; beyond that the oldest that is over goes, and one that is not never does.
inline constexpr std::size_t kQuarantineCasesMax = 1'024;
// A request to a server's control socket, and how long somebody may take to say it.
inline constexpr std::size_t kControlRequestBytesMax = 256;
inline constexpr int kControlMs = 2'000;
// What a server may answer: each case takes about 1 KiB.
inline constexpr std::size_t kControlAnswerBytesMax = kQuarantineCasesMax * 4096;

}  // namespace farcall::limits
