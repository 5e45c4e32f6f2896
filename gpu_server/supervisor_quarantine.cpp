// The supervisor and a session that does what none should: it is frozen until an operator looks.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "gpu_server/supervisor.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

using nlohmann::json;
using security::AuditOutcome;
using security::AuditRecord;
namespace audit = security::audit;

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

AuditRecord record_of_hit(const AuditedSession& session, std::string_view kind,
                          const ContainmentHit& hit, const Tallies& evidence) {
  AuditRecord record = record_of(session, kind);
  record.outcome = AuditOutcome::kRefused;
  record.details = {{"session", session.id},
                    {"feature", std::string(name_of(hit.feature))},
                    {"value", std::to_string(hit.value)},
                    {"most", std::to_string(hit.most)},
                    {"window_s", std::to_string(hit.window_s)}};
  const FeatureValues all = features_of(evidence);
  for (std::size_t i = 0; i < kFeatures; ++i) {
    const auto feature = static_cast<Feature>(i);
    record.details.push_back({"all_" + std::string(name_of(feature)), std::to_string(all[i])});
  }
  return record;
}

json json_of(const QuarantineCase& one) {
  json evidence;
  const FeatureValues all = features_of(one.evidence);
  for (std::size_t i = 0; i < kFeatures; ++i) {
    evidence[std::string(name_of(static_cast<Feature>(i)))] = all[i];
  }
  json calls = json::array();
  for (const CallNote& note : one.calls) calls.push_back(to_text(note));
  evidence["calls"] = one.evidence[Tally::kCalls];
  evidence["bytes_in"] = one.evidence[Tally::kBytesIn];
  evidence["memory_peak"] = one.evidence[Tally::kMemoryPeak];
  return {{"case", one.id},
          {"session", one.session},
          {"state", std::string(name_of(one.state))},
          {"tenant", one.who.tenant},
          {"user", one.who.user},
          {"zone", one.who.zone},
          {"role", one.who.role},
          {"certificate", one.who.serial},
          {"lease", one.lease},
          {"from", one.from},
          {"worker", one.worker},
          {"since", one.since_unix_s},
          {"why", one.hit.to_text()},
          {"feature", std::string(name_of(one.hit.feature))},
          {"evidence", evidence},
          {"calls", calls}};
}

std::string words_of(const json& answer) {
  return answer.dump(-1, ' ', true, json::error_handler_t::replace);
}

}  // namespace

std::optional<ContainmentWatch> Supervisor::contain(const security::PeerIdentity& who,
                                                    const Admitted& lease) const {
  if (!options_.containment) return std::nullopt;
  const bool lease_says = lease.token() != nullptr && !lease.token()->role.empty();
  const std::string& role = lease_says ? lease.token()->role : who.role;
  const ContainmentRule& rule = options_.containment->rule_for(who.zone, role);
  return ContainmentWatch(rule, options_.containment->window_s);
}

Status Supervisor::look_at(Running& session, bool* ends) {
  if (!session.contained) return ok();
  const Tallies evidence = session.facts.tallies();
  const auto hit = session.contained->look(evidence, now_ms());
  look_closer(session);
  if (!hit) return ok();
  if (hit->action == ContainmentAction::kFreeze && control_) {
    return hold(session, *hit, evidence, ends);
  }
  FARCALL_LOG_WARN("session %s: %s; it goes on", session.audited.id.c_str(),
                   hit->to_text().c_str());
  post(record_of_hit(session.audited, audit::kContainmentHit, *hit, evidence));
  return ok();
}

void Supervisor::post(const AuditRecord& record) {
  if (audit_->log() != nullptr) audit_->log()->post(record);
}

// *ends: the session is not to go on; then the result is what watch() returns.
Status Supervisor::hold(Running& session, const ContainmentHit& hit, const Tallies& evidence,
                        bool* ends) {
  const std::int64_t began_ms = now_ms();
  const Status frozen = session.worker.freeze();
  const std::int64_t took_ms = now_ms() - began_ms;
  *ends = true;
  if (!frozen.ok())
    return {Code::kDenied, "the session is ended for what it did; " + frozen.text()};
  Quarantine::Ward ward(quarantine_, {.id = {},
                                      .session = session.audited.id,
                                      .who = *session.audited.who,
                                      .lease = session.audited.lease,
                                      .from = session.audited.from,
                                      .worker = session.audited.worker,
                                      .since_unix_s = std::time(nullptr),
                                      .hit = hit,
                                      .evidence = evidence,
                                      .calls = tell_calls(session)});
  AuditRecord record = record_of_hit(session.audited, audit::kQuarantineFreeze, hit, evidence);
  record.details.push_back({"frozen_ms", std::to_string(took_ms)});
  post(record);
  FARCALL_LOG_WARN(
      "session %s of tenant %s, user %s: %s: frozen within %lld ms (case %s); see farcall "
      "quarantine show %s, and security/runbooks",
      session.audited.id.c_str(), session.audited.who->tenant.c_str(),
      session.audited.who->user.c_str(), hit.to_text().c_str(), static_cast<long long>(took_ms),
      ward.id().c_str(), ward.id().c_str());
  for (;;) {
    const Admitted& lease = session.lease;
    if (Status still = lease.state(); !still.ok()) return still;
    pollfd wait[] = {{.fd = session.control.fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.worker.end_fd(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = lease.changed_fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.place.fd(), .events = POLLIN, .revents = 0},
                     {.fd = ward.fd(), .events = POLLIN, .revents = 0}};
    if (::poll(wait, 6, lease.wait_ms()) < 0 && errno != EINTR) return ok();
    if (wait[4].revents != 0) return session.place.why();
    if (wait[1].revents != 0 || wait[2].revents != 0) return ok();
    if (wait[3].revents != 0) lease.take_change();
    if (wait[0].revents != 0) {
      Status event = session.control.wait_event(Deadline::after(system_clock(), 0));
      if (event.code() != Code::kTimeout) return ok();
    }
    if (wait[5].revents == 0) continue;
    const Quarantine::Order order = ward.take_order();
    if (order == Quarantine::Order::kEnd) {
      return {Code::kDenied,
              "the server's operator ended the session, which was in quarantine "
              "(case " +
                  ward.id() + ")"};
    }
    if (order != Quarantine::Order::kRelease) continue;
    session.worker.thaw();
    *ends = false;
    FARCALL_LOG_INFO("session %s: released from quarantine, it goes on",
                     session.audited.id.c_str());
    return ok();
  }
}

// A worker that was frozen goes on for as long as it takes to wipe itself: nobody hears it.
void Supervisor::cut_off(const Running& session) {
  if (!session.worker.is_frozen()) return;
  for (const Fd& lane : session.lanes) (void)::shutdown(lane.get(), SHUT_RDWR);
}

std::string Supervisor::answer_control(const std::string& request, uid_t uid) {
  const std::size_t space = request.find(' ');
  const std::string verb = request.substr(0, space);
  const std::string id = space == std::string::npos ? "" : request.substr(space + 1);
  json answer = {{"ok", true}};
  if (verb == "list" && id.empty()) {
    answer["server"] = (*tls_.lock())->own().host;
    answer["cases"] = json::array();
    for (const QuarantineCase& one : quarantine_.cases()) answer["cases"].push_back(json_of(one));
    return words_of(answer);
  }
  Status done(Code::kUnsupported, "this server knows list, release CASE and end CASE");
  const bool releases = verb == "release";
  if (releases || verb == "end") {
    done = quarantine_.order(id, releases ? Quarantine::Order::kRelease : Quarantine::Order::kEnd);
    AuditRecord record{
        .kind = std::string(releases ? audit::kQuarantineRelease : audit::kQuarantineEnd),
        .outcome = done.ok() ? AuditOutcome::kOk : AuditOutcome::kFailed,
        .role = "operator",
        .principal = "uid " + std::to_string(uid)};
    record.details = {{"case", id}};
    if (!done.ok()) record.details.push_back({"why", done.text()});
    post(record);
  }
  if (!done.ok()) answer = {{"ok", false}, {"error", done.text()}};
  return words_of(answer);
}

// Without a way to release a session none is frozen. A place that was asked for must be had.
Status Supervisor::open_control() {
  if (options_.control == "off" || options_.control.empty()) return ok();
  const bool usual = options_.control == kUsualControl;
  const std::string path = usual ? control_path(port()) : options_.control;
  if (path.empty()) {
    FARCALL_LOG_WARN(
        "no control socket without XDG_RUNTIME_DIR: no session is frozen for what it "
        "does, it is only told of (--control PATH names a place)");
    return ok();
  }
  // Where the audit log is, which outlives this machine's start.
  const std::string& kept = options_.audit.folder;
  FARCALL_TRY(quarantine_.keep_in(kept.empty() ? path + ".cases" : kept + "/quarantine.json"));
  auto control = ControlSocket::open(
      path, [this](const std::string& request, uid_t uid) { return answer_control(request, uid); });
  if (!control.ok() && !usual) return control.status();
  if (control.ok()) {
    control_ = std::move(control).value();
  } else {
    FARCALL_LOG_WARN(
        "no control socket: %s: no session is frozen for what it does, it is only "
        "told of (--control PATH names another place)",
        control.status().to_string().c_str());
  }
  return ok();
}

}  // namespace farcall::server
