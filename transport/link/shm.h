// The shm carrier: a lane between two processes of one host, without the kernel in its way.
//
//   worker:  Result<std::unique_ptr<Carrier>> lane = offer_shm(std::move(socket), kLaneCalls);
//   client:  … = join_shm(std::move(socket), kLaneCalls, control_fd, deadline);
//
// Records are sealed straight into a ring and opened straight out of it. The socket, over which the
// memory was passed, stays: a byte on it wakes a sleeping peer, its end is the end of the lane.
// The peer may write anything anywhere in the memory: shm_ring.h says what is done about it.
// Both functions: errors kTimeout, kClosed, kMalformed, kSystem.  Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/carrier.h"

namespace farcall::link {

// socket: a connected Unix stream socket on which the lane's hello has been said and read
Result<std::unique_ptr<Carrier>> offer_shm(Fd socket, std::uint8_t lane);
// watch_fd: as for make_socket_carrier
Result<std::unique_ptr<Carrier>> join_shm(Fd socket, std::uint8_t lane, int watch_fd,
                                          Deadline deadline);

// Rings of a lane, one per direction; agreed by protocol version. Calls: several records, and the
// longest any lane may carry. Bulk: eight records, so that sealing and opening overlap, and no more
// than what stays in a core's cache.
inline constexpr std::size_t kShmCallRingBytes = 512 * 1024;
inline constexpr std::size_t kShmBulkRingBytes = 2 << 20;
static_assert(limits::kRecordBytesMax + 64 <= kShmCallRingBytes, "a record fits its ring");
static_assert(limits::kRecordBytesMax + 64 <= kShmBulkRingBytes, "a record fits its ring");

}  // namespace farcall::link
