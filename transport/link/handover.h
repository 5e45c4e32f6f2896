// Handover: the supervisor, which holds the private key, gives a worker one session and no more.
//
//   Handover gift{…};  send_session(worker_socket, gift);        // supervisor
//   Result<Handover> mine = receive_session(3, deadline);        // worker
//   Result<LaneCarriers> lanes = lanes_of(mine.value(), …);               // lanes.h
//
// Later ones are links between this session and one on another server (peer.h).
// Before the first, a worker that listens for RDMA says where: send_place(), receive_place().
// One message over a Unix socket pair (SOCK_STREAM or SOCK_SEQPACKET): keys as bytes,
// the connections' descriptors by SCM_RIGHTS.  Threads: one.
#pragma once
#include <string>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/ticket.h"
#include "transport/base/unique.h"
#include "transport/link/carrier_kind.h"
#include "transport/link/compress.h"
#include "transport/link/keys.h"

namespace farcall::link {

// What is handed over: the client's session first, and once; then links to other servers (peer.h).
enum class HandoverKind : std::uint8_t {
  kClient,
  kPeerCame,     // from the server `peer`, which showed `ticket`
  kPeerReached,  // to another server, as request `number` asked
  kPeerRefused,  // there is none: nothing else is in this handover
};
inline constexpr std::size_t kPeerNameBytesMax = 64;  // an identity's word, security/identity.h

struct Handover {
  HandoverKind kind = HandoverKind::kClient;
  std::uint32_t number = 0;
  std::string peer;  // at most kPeerNameBytesMax
  Ticket ticket{};
  SessionId session_id;
  SessionKeys keys;
  CarrierKind carrier = CarrierKind::kTcp;
  // TCP or Unix sockets; none for rdma, whose lanes come to the worker by themselves.
  Fd calls;
  std::vector<Fd> bulk;                // 1 … limits::kStripesMax, in the order of their numbers
  Compress compress = Compress::kOff;  // payloads, as client and server agreed
};

// Descriptors are duplicated by the kernel; `gift` keeps its own and closes them when it dies.
// Errors: kClosed, kSystem, kOverQuota (too many lanes).
Status send_session(int socket, const Handover& gift);
// Errors: kClosed, kTimeout, kMalformed, kSystem.
Result<Handover> receive_session(int socket, Deadline deadline);

// The worker's first and only message: where it listens for its client, or why it does not.
Status send_place(int socket, const Result<std::string>& place);
// Errors: kClosed, kTimeout, kMalformed, kSystem; else the worker's own, with its text.
Result<std::string> receive_place(int socket, Deadline deadline);

}  // namespace farcall::link
