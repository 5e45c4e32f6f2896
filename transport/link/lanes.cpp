#include "transport/link/lanes.h"

#include <array>
#include <utility>
#include <vector>

#include "transport/base/limits.h"
#include "transport/link/session_parts.h"
#include "transport/link/shm.h"
#include "transport/link/socket.h"
#include "transport/link/stripes.h"

namespace farcall::link {
namespace {

using HelloBytes = std::array<std::byte, kLaneHelloBytes>;

HelloBytes hello_of(std::size_t connection, const SessionId& id) {
  HelloBytes bytes;
  encode(LaneHello{static_cast<std::uint8_t>(connection), id}, bytes);
  return bytes;
}

constexpr std::uint8_t lane_of(std::size_t connection) {
  return connection == kCallsConnection ? kLaneCalls : kLaneBulk;
}

// The sockets of lanes that come to the server itself, by their numbers.
Result<std::vector<Fd>> connect_sockets(const LanesAt& at, std::size_t count, Deadline deadline) {
  if (at.offer.kind != CarrierKind::kShm) return connect_beside(at.control_fd, count, deadline);
  std::vector<Fd> sockets;
  while (sockets.size() < count) {
    Result<Fd> socket = connect_abstract(at.offer.place);
    if (!socket.ok()) return socket.status();
    sockets.push_back(std::move(socket).value());
  }
  return sockets;
}

Result<std::unique_ptr<Carrier>> carrier_on(const LanesAt& at, std::uint8_t lane, Fd socket,
                                            Deadline deadline) {
  if (at.offer.kind == CarrierKind::kShm) {
    return join_shm(std::move(socket), lane, at.control_fd, deadline);
  }
  return make_socket_carrier(std::move(socket), at.control_fd);
}

using Carriers = std::vector<std::unique_ptr<Carrier>>;

Result<std::vector<Fd>> say_hello(const LanesAt& at, const SessionId& id, std::size_t count,
                                  Deadline deadline) {
  Result<std::vector<Fd>> sockets = connect_sockets(at, count, deadline);
  if (!sockets.ok()) return sockets;
  for (std::size_t i = 0; i < count; ++i) {
    Status sent = write_all(sockets.value()[i].get(), hello_of(i, id), deadline);
    if (!sent.ok()) return sent;
  }
  return sockets;
}

Result<Carriers> dial_server(const LanesAt& at, const SessionId& id, std::size_t count,
                             Deadline deadline) {
  Result<std::vector<Fd>> sockets = say_hello(at, id, count, deadline);
  if (!sockets.ok()) return sockets.status();
  // The worker is there once all have said their hello, so nothing is waited for before.
  Carriers carriers;
  for (std::size_t i = 0; i < count; ++i) {
    Result<std::unique_ptr<Carrier>> carrier =
        carrier_on(at, lane_of(i), std::move(sockets.value()[i]), deadline);
    if (!carrier.ok()) return carrier.status();
    carriers.push_back(std::move(carrier).value());
  }
  return carriers;
}

Result<Carriers> dial_rdma(const LanesAt& at, const SessionId& id, std::size_t count,
                           Deadline deadline) {
  Carriers carriers;
  for (std::size_t i = 0; i < count; ++i) {
    Result<std::unique_ptr<Carrier>> carrier =
        connect_rdma(at.offer.place, hello_of(i, id), at.control_fd, deadline);
    if (!carrier.ok()) return carrier.status();
    carriers.push_back(std::move(carrier).value());
  }
  return carriers;
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
    if (hello->connection > kFirstBulkConnection) continue;  // rdma has no stripes
    std::unique_ptr<Carrier>& lane =
        hello->connection == kCallsConnection ? lanes.calls : lanes.bulk;
    if (lane == nullptr) lane = std::move(next->carrier);
    if (lanes.calls && lanes.bulk) return lanes;
  }
  return Status(Code::kDenied, "too many strangers connected to this session's RDMA port");
}

}  // namespace

Result<LaneCarriers> dial_lanes(const LanesAt& at, const SessionId& id, Deadline deadline) {
  const std::size_t count = std::size_t{kFirstBulkConnection} + at.offer.stripes;
  const auto dial = at.offer.kind == CarrierKind::kRdma ? dial_rdma : dial_server;
  Result<Carriers> dialled = dial(at, id, count, deadline);
  if (!dialled.ok()) return dialled.status();
  Carriers& all = dialled.value();
  LaneCarriers lanes;
  lanes.calls = std::move(all[kCallsConnection]);
  all.erase(all.begin(), all.begin() + kFirstBulkConnection);
  lanes.bulk = make_striped_carrier(std::move(all));
  return lanes;
}

Result<std::vector<Fd>> dial_sockets(const LanesAt& at, const SessionId& id, Deadline deadline) {
  return say_hello(at, id, std::size_t{kFirstBulkConnection} + at.offer.stripes, deadline);
}

Result<LaneCarriers> lanes_of(Handover& gift, RdmaListener* listener, Deadline deadline) {
  if (gift.carrier == CarrierKind::kRdma) {
    if (listener == nullptr) return Status(Code::kMalformed, "an RDMA session without a listener");
    Result<LaneCarriers> accepted = accept_rdma(gift.session_id, *listener, deadline);
    if (accepted.ok()) accepted->compress = gift.compress;
    return accepted;
  }
  LaneCarriers lanes;
  lanes.compress = gift.compress;
  if (gift.carrier == CarrierKind::kShm) {
    if (gift.bulk.size() != 1) return Status(Code::kMalformed, "shared memory has no stripes");
    Result<std::unique_ptr<Carrier>> calls = offer_shm(std::move(gift.calls), kLaneCalls);
    if (!calls.ok()) return calls.status();
    Result<std::unique_ptr<Carrier>> bulk = offer_shm(std::move(gift.bulk.front()), kLaneBulk);
    if (!bulk.ok()) return bulk.status();
    lanes.calls = std::move(calls).value();
    lanes.bulk = std::move(bulk).value();
    return lanes;
  }
  lanes.calls = make_socket_carrier(std::move(gift.calls), -1);
  Carriers stripes;
  for (Fd& socket : gift.bulk) stripes.push_back(make_socket_carrier(std::move(socket), -1));
  lanes.bulk = make_striped_carrier(std::move(stripes));
  return lanes;
}

Result<std::unique_ptr<Session>> session_from_carriers(LaneCarriers lanes, SessionKeys keys,
                                                       Role role, Deadline deadline) {
  SessionParts parts;
  parts.role = role;
  parts.calls = std::move(lanes.calls);
  parts.bulk = std::move(lanes.bulk);
  parts.keys = std::move(keys);
  parts.compress = lanes.compress;
  Result<std::unique_ptr<Session>> session = SessionParts::start(std::move(parts));
  if (!session.ok()) return session;
  if (Status up = SessionParts::confirm(*session.value(), deadline); !up.ok()) return up;
  return session;
}

}  // namespace farcall::link
