// Handover: the supervisor, which holds the private key, gives a worker one session and no more.
//
//   Handover gift{…};  send_session(worker_socket, gift);        // supervisor
//   Result<Handover> mine = receive_session(3, deadline);        // worker
//   Result<LaneCarriers> lanes = lanes_of(mine.value(), …);               // lanes.h
//
// Before that, a worker that listens for RDMA says where: send_place(), receive_place().
// One message over a Unix socket pair (SOCK_STREAM or SOCK_SEQPACKET): keys as bytes,
// the connections' descriptors by SCM_RIGHTS.  Threads: one.
#pragma once
#include <string>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/carrier_kind.h"
#include "transport/link/compress.h"
#include "transport/link/keys.h"

namespace farcall::link {

struct Handover {
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
