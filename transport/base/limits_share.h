// Limits of the turns that leases take on a device (gpu_server/share_arbiter.h): a part of limits.h
// that few need.
#pragma once
#include <cstdint>

#include "transport/base/limits_lease.h"

namespace farcall::limits {

// What the turns of all leases that want a device take together: long enough that the change from
// one to the next (some 0.1 ms) costs little, short enough that nobody waits long.
inline constexpr std::int64_t kShareRoundNs = 20'000'000;
// No turn is cut shorter, for whatever reason: it would be over before a launch got through.
inline constexpr std::int64_t kShareTurnLeastNs = 2'000'000;
// While another lease was on the device so lately, who is alone there has turns all the same: few
// launches under way, so that who comes back soon finds the device soon.
inline constexpr std::int64_t kShareQuietNs = 1'000'000'000;
// So long the next lease waits for what the last one still has on the device when its turn is over;
// most kernels end before. Then both are on it, and the time counts for who overran.
inline constexpr std::int64_t kShareDrainNs = 250'000'000;
// More than this is not booked for what is left after one turn: a lease whose kernel never ends
// waits long for its next turn, not for ever.
inline constexpr std::int64_t kShareOverrunNsMax = 10'000'000'000;
// A worker gives its turn back when nothing was launched for so long and nothing is under way: more
// than a client needs to answer the end of one kernel with the next.
inline constexpr std::int64_t kShareIdleNs = 500'000;
// Launches of a worker under way during its turn, at most.
inline constexpr unsigned kShareWindowMax = 32;
// What is under way when a turn ends should end within this, and not much sooner: the window grows
// and shrinks to fit.
inline constexpr std::int64_t kShareTailNs = 1'000'000;
// Streams of a worker that are waited for at the end of a turn; a program with more is not waited
// for on those beyond.
inline constexpr std::size_t kShareStreamsMax = 1024;

static_assert(kShareTurnLeastNs < kShareRoundNs && kShareRoundNs < kShareDrainNs);
static_assert(kShareDrainNs < kShareOverrunNsMax, "what the others waited for is booked");
static_assert(kShareIdleNs < kShareTurnLeastNs && kShareTailNs < kShareTurnLeastNs);

}  // namespace farcall::limits
