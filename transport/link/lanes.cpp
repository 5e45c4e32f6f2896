#include "transport/link/lanes.h"

#include <array>
#include <utility>

#include "transport/base/limits.h"
#include "transport/link/socket.h"

namespace farcall::link {
namespace {

Result<std::unique_ptr<Carrier>> dial_tcp(const LanesAt& at,
                                          std::span<const std::byte, kLaneHelloBytes> hello,
                                          Deadline deadline) {
  Result<Fd> socket = connect_tcp(at.host, at.port, deadline);
  if (!socket.ok()) return socket.status();
  if (Status sent = write_all(socket.value().get(), hello, deadline); !sent.ok()) return sent;
  return make_socket_carrier(std::move(socket).value(), at.control_fd);
}

// Strangers may connect to the listener too; what they open is closed, and only so many of them
// are put up with.
Result<LaneCarriers> accept_rdma(const SessionId& id, RdmaListener& listener, Deadline deadline) {
  LaneCarriers lanes;
  for (std::size_t i = 0; i < limits::kUnauthenticatedConnectionsMax; ++i) {
    Result<RdmaLane> next = listener.accept(deadline);
    if (!next.ok()) return next.status();
    Result<LaneHello> hello = parse_lane_hello(next->hello);
    if (!hello.ok() || hello->session_id != id) continue;
    std::unique_ptr<Carrier>& lane = hello->lane == kLaneCalls ? lanes.calls : lanes.bulk;
    if (lane == nullptr) lane = std::move(next->carrier);
    if (lanes.calls && lanes.bulk) return lanes;
  }
  return Status(Code::kDenied, "too many strangers connected to this session's RDMA port");
}

}  // namespace

Result<std::unique_ptr<Carrier>> dial_lane(const LanesAt& at, const LaneHello& hello,
                                           Deadline deadline) {
  std::array<std::byte, kLaneHelloBytes> bytes;
  encode(hello, bytes);
  switch (at.offer.kind) {
    case CarrierKind::kTcp: return dial_tcp(at, bytes, deadline);
    case CarrierKind::kRdma: return connect_rdma(at.offer.place, bytes, at.control_fd, deadline);
    case CarrierKind::kShm: break;
  }
  return Status(Code::kUnsupported, "this build has no shared memory carrier");
}

Result<LaneCarriers> lanes_of(Handover& gift, RdmaListener* listener, Deadline deadline) {
  if (gift.carrier == CarrierKind::kRdma) {
    if (listener == nullptr) return Status(Code::kMalformed, "an RDMA session without a listener");
    return accept_rdma(gift.session_id, *listener, deadline);
  }
  if (gift.carrier != CarrierKind::kTcp) {
    return Status(Code::kUnsupported, "this build has no shared memory carrier");
  }
  LaneCarriers lanes;
  lanes.calls = make_socket_carrier(std::move(gift.calls), -1);
  lanes.bulk = make_socket_carrier(std::move(gift.bulk), -1);
  return lanes;
}

Result<std::unique_ptr<Session>> session_from_carriers(LaneCarriers lanes, SessionKeys keys,
                                                       Role role, Deadline deadline) {
  SessionParts parts;
  parts.role = role;
  parts.calls = std::move(lanes.calls);
  parts.bulk = std::move(lanes.bulk);
  parts.keys = std::move(keys);
  Result<std::unique_ptr<Session>> session = SessionParts::start(std::move(parts));
  if (!session.ok()) return session;
  if (Status up = SessionParts::confirm(*session.value(), deadline); !up.ok()) return up;
  return session;
}

}  // namespace farcall::link
