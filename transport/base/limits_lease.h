// Limits of a lease's ledger (gpu_server/ledger.h): a part of limits.h that few need.
#pragma once
#include "transport/base/limits.h"

namespace farcall::limits {

// Sessions of one lease at a time: a slot of the ledger each. As many as the whole server takes.
inline constexpr std::size_t kLeaseSessionsMax = kSessionsMax;
// Leases with sessions at a time: no more than sessions.
inline constexpr std::size_t kLeasesMax = kSessionsMax;
// So long a session waits for another one of its lease to end: that takes kWorkerGraceMs at most,
// and some more where many end at a time.
inline constexpr int kLeaseSeatMs = 3'000;
// Devices of one server that a ledger counts apart.
inline constexpr std::size_t kLeaseDevicesMax = 16;

// What a driver takes for a piece of memory: small pieces share blocks, in steps of 512 bytes; from
// 1 MiB on a piece has blocks of 2 MiB of its own. Seen with NVIDIA's driver; others take less.
inline constexpr std::uint64_t kSmallPieceBytesMax = 1 << 20;
inline constexpr std::uint64_t kSmallPieceStep = 512;
inline constexpr std::uint64_t kLargePieceStep = 2 << 20;
// What a context takes of a device with memory of its own, for code of the driver, its stacks and
// its queues: NVIDIA's takes between 300 and 600 MiB on data centre GPUs.
inline constexpr std::uint64_t kContextBytes = 512 << 20;

// Nodes of a graph that are looked at for the memory they allocate, those of its child graphs with
// them: more than that is refused while a lease limits memory.
inline constexpr std::size_t kGraphNodesMetered = 1 << 20;
inline constexpr unsigned kGraphNestingMetered = 16;

static_assert(kLeaseSeatMs > kWorkerGraceMs, "a worker that is ending has ended");
static_assert(kSmallPieceBytesMax % kSmallPieceStep == 0, "small pieces are whole steps");
static_assert(kLargePieceStep % kSmallPieceStep == 0, "a large step is whole small ones");

}  // namespace farcall::limits
