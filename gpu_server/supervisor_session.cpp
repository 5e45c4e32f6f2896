// The supervisor and one client: from its hello to the end of its session.
//
// Who may have a session is decided here, before a worker is started for it; what it may do with it
// is the worker's to enforce.
#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "gpu_server/supervisor.h"
#include "gpu_server/worker_user.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/link/handover.h"

namespace farcall::server {
namespace {

// One line per failed client would let strangers fill the log.
LogLimit g_client_log(5);

class Counted {
 public:
  explicit Counted(std::atomic<std::size_t>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<std::size_t>& count_;
};

// A lease's limits; in a pool without tokens a user's sessions are one lease, with the server's.
LeaseLimits limits_of(const Admitted& lease, const LeaseLimits& of_users) {
  if (lease.token() == nullptr) return of_users;
  const security::LeaseToken& token = *lease.token();
  LeaseLimits limits;
  limits.memory_bytes = token.memory_bytes;
  limits.compute_percent = token.compute_percent;
  limits.threads_max = token.threads;
  limits.handles_max = token.handles;
  limits.image_bytes_max = token.image_bytes;
  limits.in_flight_bytes_max = token.in_flight_bytes;
  return limits;  // sessions: counted by Admission, which waits for a place
}

// What the lease leaves of the server.
Status restrict_to(const Admitted& lease, WorkerProcess::Command* command) {
  if (lease.token() == nullptr) return ok();
  command->families = lease.token()->families;
  if (lease.token()->devices.empty()) return ok();
  Result<std::string> visible =
      visible_devices(std::getenv("CUDA_VISIBLE_DEVICES"), lease.token()->devices);
  if (visible.ok()) command->visible_devices = std::move(visible).value();
  return visible.status();
}

// What it takes to cut a session off, whatever its worker does.
void keep_lanes(const link::Handover& gift, std::vector<Fd>* kept) {
  const auto keep = [&](const Fd& lane) {
    if (lane) kept->emplace_back(::fcntl(lane.get(), F_DUPFD_CLOEXEC, 0));
  };
  keep(gift.calls);
  for (const Fd& lane : gift.bulk) keep(lane);
}

}  // namespace

void Supervisor::serve_client(Fd socket, const std::string& from, std::uint64_t number) {
  Tls tls = *tls_.lock();
  Deadline deadline = Deadline::after(system_clock(), options_.handshake_ms);
  auto control = link::accept_tls(std::move(socket), *tls, options_.hello, deadline);
  if (!control.ok()) {
    audit_->refused(nullptr, from, control.status());
    if (g_client_log.allow()) {
      FARCALL_LOG_WARN("client at %s: %s", from.c_str(), control.status().to_string().c_str());
    }
    return;
  }
  if (control.value()->is_server()) return serve_peer(*control.value(), from);
  no_longer_a_stranger(number);
  live_.vouch(control.value()->peer());
  Counted session(sessions_);
  if (sessions() > options_.sessions_max) {
    Status full(Code::kBusy, "the server has all " + std::to_string(options_.sessions_max) +
                                 " sessions in use; try again later or use another server");
    FARCALL_LOG_WARN("client at %s: %s", from.c_str(), full.text().c_str());
    audit_->refused(&control.value()->peer(), from, full);
    (void)control.value()->refuse(full);
    return;
  }
  Result<Admitted> lease = admit(*control.value());
  if (!lease.ok()) {
    if (g_client_log.allow()) {
      FARCALL_LOG_WARN("client at %s: %s", from.c_str(), lease.status().text().c_str());
    }
    audit_->refused(&control.value()->peer(), from, lease.status());
    (void)control.value()->refuse(lease.status());
    return;
  }
  serve_session(*control.value(), from, lease.value());
}

Result<Admitted> Supervisor::admit(link::ControlConnection& control) {
  const Tls tls = *tls_.lock();
  Result<Admitted> lease = admission_->admit({.who = control.peer(),
                                              .key = control.peer_key(),
                                              .server = tls->own(),
                                              .token = control.hello().lease});
  if (!lease.ok()) return lease;
  const std::string name = lease->token() == nullptr ? "" : lease->name();
  Status let_in = quarantine_.admits(control.peer(), name);
  if (!let_in.ok()) return let_in;
  return lease;
}

// A worker without a cache serves its client all the same.
Result<WorkerProcess> Supervisor::spawn_worker(WorkerProcess::Command command,
                                               const security::PeerIdentity& peer) {
  Fd folder;
  if (command.sandbox != security::SandboxMode::kOff) command.uid = worker_uid(peer);
  if (module_cache_) {
    Result<Fd> own = module_cache_->tenant(peer);
    Status given = own.ok() ? give_folder(own->get(), command.uid != 0 ? command.uid : ::geteuid())
                            : own.status();
    if (given.ok()) folder = std::move(own).value();
    if (!given.ok()) FARCALL_LOG_WARN("no module cache: %s", given.to_string().c_str());
  }
  command.name = (*tls_.lock())->own().host;
  for (const link::PeerPlace& peer : options_.peers) {
    command.peers += (command.peers.empty() ? "" : ",") + peer.name;
  }
  command.cache_folder = folder.get();
  command.cache_bytes = folder ? module_cache_->bytes_max() : 0;
  if (!groups_) return WorkerProcess::spawn(command);
  Result<WorkerGroup> group = groups_->make();
  if (!group.ok()) return group.status();
  command.group = group->folder();
  Result<WorkerProcess> worker = WorkerProcess::spawn(command);
  if (worker.ok()) worker->keep(std::move(group).value());
  return worker;
}

link::CarrierOffer Supervisor::offer_of(link::CarrierKind kind, const link::ClientHello& client,
                                        const Admitted& lease) const {
  link::CarrierOffer offer;
  offer.kind = kind;
  offer.floors = stricter(client.floors, floors_of(options_.traffic, lease.token()));
  const bool sizes_may_show =
      lease.token() == nullptr || lease.token()->data_class < security::DataClass::kConfidential;
  offer.compress = sizes_may_show && options_.compress && client.compress != link::Compress::kOff;
  if (kind == link::CarrierKind::kShm) offer.place = local_name_;
  if (kind == link::CarrierKind::kTcp && is_on(Switch::kStripes)) {
    offer.stripes =
        static_cast<std::uint8_t>(std::clamp<std::size_t>(client.stripes, 1, options_.stripes_max));
  }
  return offer;
}

Result<WorkerProcess> Supervisor::start_worker(const link::ControlConnection& control,
                                               const Admitted& lease, const Seated& seated,
                                               link::CarrierOffer* offer,
                                               const CodeGuard::Start* code) {
  const link::CarrierSet wanted = control.hello().carriers;
  auto both = static_cast<link::CarrierSet>(wanted & options_.carriers);
  WorkerProcess::Command command = options_.worker;
  command.tells_code = code != nullptr;
  if (code != nullptr) command.program = code->program.get();
  command.ledger = seated.seat.ledger_fd();
  command.ledger_slot = seated.seat.slot();
  command.facts_page = seated.facts.page_fd();
  command.facts_pipe = seated.facts.pipe_fd();
  command.doorbell = seated.seat.doorbell_fd();
  FARCALL_TRY(restrict_to(lease, &command));
  std::optional<link::CarrierKind> best = link::best_carrier(both);
  if (best != link::CarrierKind::kRdma) command.rdma_address.clear();
  const Status nothing(Code::kUnsupported, "the client takes " + link::names_of(wanted) +
                                               ", this server offers " +
                                               link::names_of(options_.carriers));
  if (!best) return nothing;
  Result<WorkerProcess> worker = spawn_worker(std::move(command), control.peer());
  seated.facts.worker_has_them();
  if (!worker.ok()) {
    FARCALL_LOG_ERROR("%s", worker.status().text().c_str());
    return Status(Code::kSystem, "the server could not start a worker");
  }
  if (code != nullptr) FARCALL_TRY(check_loaded(worker.value(), *code));
  *offer = offer_of(*best, control.hello(), lease);
  if (*best != link::CarrierKind::kRdma) return worker;
  Result<std::string> place = link::receive_place(
      worker.value().socket(), Deadline::after(system_clock(), options_.handshake_ms));
  if (place.ok()) {
    offer->place = std::move(place).value();
    return worker;
  }
  best = link::best_carrier(link::without(both, link::CarrierKind::kRdma));
  FARCALL_LOG_WARN("rdma: %s%s", place.status().text().c_str(),
                   best ? "; the session gets another carrier" : "");
  if (!best) return Status(Code::kUnsupported, "no rdma: " + place.status().text());
  *offer = offer_of(*best, control.hello(), lease);
  return worker;
}

Status Supervisor::give(link::ControlConnection& control, const link::CarrierOffer& offer,
                        const link::SessionId& id, WorkerProcess& worker, std::vector<Fd>* kept) {
  link::Handover gift;
  gift.session_id = id;
  gift.carrier = offer.kind;
  if (offer.compress) gift.compress = control.hello().compress;
  const bool by_us = offer.kind != link::CarrierKind::kRdma;  // lanes come to this process
  if (by_us) lanes_.expect(id, offer.kind, offer.stripes);
  Result<link::SessionKeys> keys = control.grant(id, offer);
  if (by_us) {
    const int patience_ms = keys.ok() ? options_.handshake_ms : 0;
    const auto gone = [&control] {  // it has nothing to say before its end
      pollfd look{.fd = control.fd(), .events = POLLIN, .revents = 0};
      return ::poll(&look, 1, 0) > 0;
    };
    Result<LaneSockets> lanes =
        lanes_.await(id, Deadline::after(system_clock(), patience_ms), gone);
    if (!keys.ok()) return keys.status();
    if (!lanes.ok()) return lanes.status();
    gift.calls = std::move(lanes.value().calls);
    gift.bulk = std::move(lanes.value().bulk);
  }
  if (!keys.ok()) return keys.status();
  gift.keys = std::move(keys).value();
  if (options_.containment) keep_lanes(gift, kept);
  return link::send_session(worker.socket(), gift);
}

void Supervisor::serve_session(link::ControlConnection& control, const std::string& from,
                               const Admitted& lease) {
  const security::PeerIdentity& peer = control.peer();
  // Before the worker, so that it goes after it.
  Result<LeaseSeat> seat = leases_.enter(lease.name(), limits_of(lease, options_.user_limits));
  if (!seat.ok()) {
    FARCALL_LOG_WARN("client at %s: %s: %s", from.c_str(), lease.name().c_str(),
                     seat.status().text().c_str());
    audit_->refused(&peer, from, seat.status());
    (void)control.refuse(seat.status());
    return;
  }
  auto facts = SessionFacts::open();
  if (!facts.ok()) {
    FARCALL_LOG_ERROR("client at %s: %s", from.c_str(), facts.status().to_string().c_str());
    audit_->refused(&peer, from, facts.status());
    (void)control.refuse(Status(Code::kSystem, "the server has no descriptors left"));
    return;
  }
  // Started before the yes, so that the driver loads while the client opens its lanes.
  link::CarrierOffer offer;
  Result<WorkerProcess> worker =
      start_known_worker(control, lease, {seat.value(), *facts.value()}, &offer);
  if (!worker.ok()) {
    FARCALL_LOG_WARN("client at %s: %s", from.c_str(), worker.status().text().c_str());
    audit_->refused(&peer, from, worker.status());
    (void)control.refuse(worker.status());
    return;
  }
  const link::SessionId session_id = link::make_session_id();
  const std::string id = link::to_string(session_id).substr(0, 8);
  AuditedSession audited{.who = &peer, .from = from, .id = id};
  audited.carrier = link::name_of(offer.kind);
  audited.worker = static_cast<int>(worker.value().pid());
  if (lease.token() != nullptr) audited.lease = lease.name();
  if (Status noted = audit_->session_starts(audited); !noted.ok()) {
    FARCALL_LOG_WARN("client at %s: %s", from.c_str(), noted.text().c_str());
    (void)control.refuse(noted);
    return;
  }
  // Before its client can know it: another server may come for it at once.
  workers_.lock()->emplace(session_id.bytes,
                           Fd(::fcntl(worker.value().socket(), F_DUPFD_CLOEXEC, 0)));
  // A change of the deny list ends the session from here on; one before is seen now.
  std::vector<Fd> lanes;
  LiveSessions::Place place(live_, peer, session_id.bytes);
  Status given = place.is_sound() ? admits(peer) : Status(Code::kSystem, "no descriptors left");
  if (!given.ok()) (void)control.refuse(given);
  if (given.ok()) given = give(control, offer, session_id, worker.value(), &lanes);
  if (!given.ok()) {
    workers_.lock()->erase(session_id.bytes);
    audit_->session_ends(audited, given.to_string());
    FARCALL_LOG_WARN("session %s from %s: %s", id.c_str(), from.c_str(), given.to_string().c_str());
    return;
  }
  FARCALL_LOG_INFO("session %s: tenant %s, user %s at %s, over %s, worker %d%s%s", id.c_str(),
                   peer.tenant.c_str(), peer.user.c_str(), from.c_str(), link::name_of(offer.kind),
                   static_cast<int>(worker.value().pid()), lease.token() == nullptr ? "" : ", ",
                   lease.token() == nullptr ? "" : lease.name().c_str());
  Running session{control, worker.value(),       lease,        place, *facts.value(), audited,
                  lanes,   contain(peer, lease), std::nullopt, 0};
  if (session.contained) {
    session.detail.emplace(session.contained->rule(), options_.containment->detail_s);
  }
  const Status why = watch(session);
  workers_.lock()->erase(session_id.bytes);
  see_out(session, why);
}

}  // namespace farcall::server
