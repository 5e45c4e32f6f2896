// Lanes: the carriers of a session, whatever they run over: one for calls, one for payloads, which
// may be several connections (stripes.h).
//
//   client:  Result<LaneCarriers> lanes = dial_lanes(where, session_id, deadline);
//   worker:  Result<LaneCarriers> lanes = lanes_of(std::move(gift), listener.get(), deadline);
//            auto session = session_from_carriers(std::move(lanes.value()), keys, role, deadline);
//
// The one place that knows how each kind of carrier is reached.  Threads: one.
#pragma once
#include <memory>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/link/carrier.h"
#include "transport/link/handover.h"
#include "transport/link/hello.h"
#include "transport/link/rdma.h"
#include "transport/link/session.h"

namespace farcall::link {

// Where a client finds its lanes.
struct LanesAt {
  CarrierOffer offer;
  // The control connection. tcp: the lanes go where it went. Every lane watches it and borrows it
  // for life.
  int control_fd = -1;
};

struct LaneCarriers {
  std::unique_ptr<Carrier> calls;
  std::unique_ptr<Carrier> bulk;
  Compress compress = Compress::kOff;  // payloads, as was agreed
};

// Opens every connection, all at the same time, and says its hello.
// Errors: kUnsupported (this kind cannot be had here), kNotFound (nobody at its place), kTimeout,
// kClosed, kSystem, kMalformed.
Result<LaneCarriers> dial_lanes(const LanesAt& at, const SessionId& id, Deadline deadline);

// The sockets of a session over tcp, for somebody else to make carriers of: calls first.
// Errors: kTimeout, kClosed, kSystem.
Result<std::vector<Fd>> dial_sockets(const LanesAt& at, const SessionId& id, Deadline deadline);

// What was handed over, as carriers. rdma: waits for the client to connect to `listener`, which
// other kinds do not need.  Errors: kTimeout, kClosed, kSystem, kMalformed.
Result<LaneCarriers> lanes_of(Handover& gift, RdmaListener* listener, Deadline deadline);

// start() and confirm() over two carriers.
// Errors: kDenied when the peer does not hold the keys, kTimeout, kClosed, kSystem.
Result<std::unique_ptr<Session>> session_from_carriers(LaneCarriers lanes, SessionKeys keys,
                                                       Role role, Deadline deadline);

}  // namespace farcall::link
