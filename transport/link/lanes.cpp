#include "transport/link/lanes.h"

#include <array>
#include <utility>

#include "transport/base/limits.h"
#include "transport/link/shm.h"
#include "transport/link/socket.h"

namespace farcall::link {
namespace {

using HelloBytes = std::array<std::byte, kLaneHelloBytes>;

HelloBytes hello_of(std::uint8_t lane, const SessionId& id) {
  HelloBytes bytes;
  encode(LaneHello{lane, id}, bytes);
  return bytes;
}

// A lane that comes to the server itself: its socket, the hello said.
Result<Fd> dial_server(const LanesAt& at, const HelloBytes& hello, Deadline deadline) {
  Result<Fd> socket = at.offer.kind == CarrierKind::kShm ? connect_abstract(at.offer.place)
                                                         : connect_tcp(at.host, at.port, deadline);
  if (!socket.ok()) return socket;
  if (Status sent = write_all(socket.value().get(), hello, deadline); !sent.ok()) return sent;
  return socket;
}

Result<std::unique_ptr<Carrier>> carrier_on(const LanesAt& at, std::uint8_t lane, Fd socket,
                                            Deadline deadline) {
  if (at.offer.kind == CarrierKind::kShm) {
    return join_shm(std::move(socket), lane, at.control_fd, deadline);
  }
  return make_socket_carrier(std::move(socket), at.control_fd);
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

Result<LaneCarriers> dial_lanes(const LanesAt& at, const SessionId& id, Deadline deadline) {
  std::array<std::unique_ptr<Carrier>, kLanes> lanes;
  std::array<Fd, kLanes> sockets;
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    const HelloBytes hello = hello_of(lane, id);
    if (at.offer.kind == CarrierKind::kRdma) {
      Result<std::unique_ptr<Carrier>> dialled =
          connect_rdma(at.offer.place, hello, at.control_fd, deadline);
      if (!dialled.ok()) return dialled.status();
      lanes[lane] = std::move(dialled).value();
    } else {
      Result<Fd> socket = dial_server(at, hello, deadline);
      if (!socket.ok()) return socket.status();
      sockets[lane] = std::move(socket).value();
    }
  }
  // The worker is there once all lanes are, so nothing is waited for before.
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    if (!sockets[lane]) continue;
    Result<std::unique_ptr<Carrier>> carrier =
        carrier_on(at, lane, std::move(sockets[lane]), deadline);
    if (!carrier.ok()) return carrier.status();
    lanes[lane] = std::move(carrier).value();
  }
  return LaneCarriers{std::move(lanes[kLaneCalls]), std::move(lanes[kLaneBulk])};
}

Result<LaneCarriers> lanes_of(Handover& gift, RdmaListener* listener, Deadline deadline) {
  if (gift.carrier == CarrierKind::kRdma) {
    if (listener == nullptr) return Status(Code::kMalformed, "an RDMA session without a listener");
    return accept_rdma(gift.session_id, *listener, deadline);
  }
  LaneCarriers lanes;
  if (gift.carrier == CarrierKind::kShm) {
    Result<std::unique_ptr<Carrier>> calls = offer_shm(std::move(gift.calls), kLaneCalls);
    if (!calls.ok()) return calls.status();
    Result<std::unique_ptr<Carrier>> bulk = offer_shm(std::move(gift.bulk), kLaneBulk);
    if (!bulk.ok()) return bulk.status();
    lanes.calls = std::move(calls).value();
    lanes.bulk = std::move(bulk).value();
    return lanes;
  }
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
