// The supervisor and other servers: links between a session here and one there.
//
// A client can have this server dial those on its list and nobody else, and another server can
// reach a session here only with a ticket that the session's own worker has given out. What the
// supervisor passes on it does not read: keys and sockets go to the workers, as a client's do.
#include <fcntl.h>

#include <algorithm>

#include "gpu_server/peer_dials.h"
#include "gpu_server/supervisor.h"
#include "transport/base/log.h"
#include "transport/link/handover.h"

namespace farcall::server {
namespace {

LogLimit g_peer_log(5);

}  // namespace

const link::PeerPlace* Supervisor::peer_named(const std::string& name) const {
  auto found = std::find_if(options_.peers.begin(), options_.peers.end(),
                            [&](const link::PeerPlace& peer) { return peer.name == name; });
  return found == options_.peers.end() ? nullptr : &*found;
}

void Supervisor::serve_peer(link::ControlConnection& control, const std::string& from) {
  Status led = lead_peer(control);
  audit_->peer_link(control.peer().host, true, led);
  if (led.ok() || !g_peer_log.allow()) return;
  FARCALL_LOG_WARN("server %s at %s: %s", control.peer().host.c_str(), from.c_str(),
                   led.to_string().c_str());
}

// It stays one of the strangers as long as this takes.
Status Supervisor::lead_peer(link::ControlConnection& control) {
  const std::string& name = control.peer().host;
  if (peer_named(name) == nullptr) {
    const Status why(Code::kDenied, "server " + name + " is not among this server's --peers");
    (void)control.refuse(why);
    return why;
  }
  // A socket of a worker that is held keeps the worker from seeing its end: only while it is used.
  const auto find_worker = [&] {
    auto workers = workers_.lock();
    auto at = workers->find(control.peer_hello().session.bytes);
    return at == workers->end() ? Fd() : Fd(::fcntl(at->second.get(), F_DUPFD_CLOEXEC, 0));
  };
  const Status not_here(Code::kNotFound, "there is no such session here");
  if (!find_worker()) {
    (void)control.refuse(not_here);
    return not_here;
  }
  live_.link(control.peer_hello().session.bytes, control.peer());
  if (Status good = admits(control.peer()); !good.ok()) {
    (void)control.refuse(good);
    return good;
  }
  link::Handover gift;
  gift.kind = link::HandoverKind::kPeerCame;
  gift.peer = name;
  gift.ticket = control.peer_hello().ticket;
  gift.session_id = link::make_session_id();
  lanes_.expect(gift.session_id, link::CarrierKind::kTcp, 1);
  Result<link::SessionKeys> keys = control.grant(gift.session_id);
  const int patience_ms = keys.ok() ? options_.handshake_ms : 0;
  Result<LaneSockets> lanes = lanes_.await(
      gift.session_id, Deadline::after(system_clock(), patience_ms), [] { return false; });
  if (!keys.ok()) return keys.status();
  if (!lanes.ok()) return lanes.status();
  gift.keys = std::move(keys).value();
  gift.calls = std::move(lanes.value().calls);
  gift.bulk = std::move(lanes.value().bulk);
  const Fd worker = find_worker();
  return worker ? link::send_session(worker.get(), gift) : not_here;
}

Result<link::Handover> Supervisor::dial(const link::PeerRequest& request,
                                        LiveSessions::Place& session, Deadline deadline) {
  const link::PeerPlace* place = peer_named(request.receiver);
  if (place == nullptr) {
    return Status(Code::kDenied, request.receiver + " is not among this server's --peers");
  }
  link::PeerHello hello;
  hello.table_fingerprint = options_.hello.table_fingerprint;
  hello.version = options_.hello.version;
  hello.session = request.session;
  hello.ticket = request.ticket;
  const Tls tls = *peer_tls_.lock();
  security::PeerIdentity reached;
  Result<link::Handover> gift = link::dial_peer(*place, *tls, hello, deadline, &reached);
  if (!gift.ok()) return gift;
  session.link(reached);
  if (Status good = admits(reached); !good.ok()) return good;
  return gift;
}

Status Supervisor::reach_peer(WorkerProcess& worker, LiveSessions::Place& place, int patience_ms,
                              int* dials) {
  const int most_ms = options_.handshake_ms;
  const Deadline deadline =
      Deadline::after(system_clock(), patience_ms < 0 ? most_ms : std::min(patience_ms, most_ms));
  Result<link::PeerRequest> request = link::receive_peer_request(worker.socket(), deadline);
  if (!request.ok()) return request.status();
  const Status too_often(Code::kOverQuota, "this session has dialled other servers too often");
  const DialAnswer judged = judge_dial(++*dials);
  if (judged == DialAnswer::kEndSession) {
    FARCALL_LOG_WARN("a worker does not stop asking for other servers: its session ends");
    return too_often;
  }
  Result<link::Handover> gift = judged == DialAnswer::kDial ? dial(request.value(), place, deadline)
                                                            : Result<link::Handover>(too_often);
  audit_->peer_link(request->receiver, false, gift.status());
  link::Handover answer;
  answer.kind = link::HandoverKind::kPeerRefused;
  if (gift.ok()) {
    answer = std::move(gift).value();
    FARCALL_LOG_INFO("a link to %s, for copies", request->receiver.c_str());
  } else if (g_peer_log.allow()) {
    FARCALL_LOG_WARN("no link to %s: %s", request->receiver.c_str(),
                     gift.status().to_string().c_str());
  }
  answer.number = request->number;
  return link::send_session(worker.socket(), answer);
}

}  // namespace farcall::server
