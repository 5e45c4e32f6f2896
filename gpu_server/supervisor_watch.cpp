// The supervisor and a session that runs: what ends it, and what its worker tells meanwhile.
#include <poll.h>

#include <algorithm>

#include "gpu_server/audit_facts.h"
#include "gpu_server/supervisor.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

}  // namespace

// Sooner where numbers are to be looked at.
int Supervisor::patience(const Running& session) {
  const int lease_ms = session.lease.wait_ms();
  if (!session.contained) return lease_ms;
  return lease_ms < 0 ? limits::kContainmentLookMs : std::min(lease_ms, limits::kContainmentLookMs);
}

// Returns when the client, the worker, the lease or the server is to end.
Status Supervisor::watch(Running& session) {
  int dials = 0;
  const Admitted& lease = session.lease;
  for (;;) {
    if (Status still = lease.state(); !still.ok()) return still;
    bool ends = false;
    if (Status held = look_at(session, &ends); ends) return held;
    pollfd wait[] = {{.fd = session.control.fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.worker.end_fd(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = session.worker.socket(), .events = POLLIN, .revents = 0},
                     {.fd = lease.changed_fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.place.fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.facts.fd(now_ms()), .events = POLLIN, .revents = 0}};
    if (::poll(wait, 7, patience(session)) < 0 && errno != EINTR) return ok();
    if (wait[5].revents != 0) return session.place.why();
    if (wait[1].revents != 0 || wait[2].revents != 0) return ok();
    if (wait[6].revents != 0) take_facts(session);
    if (wait[3].revents != 0) {
      // A server that does not answer must not hold up the end of the lease.
      Status reached = reach_peer(session.worker, session.place, lease.wait_ms(), &dials);
      if (!reached.ok()) return lease.state();
    }
    if (wait[4].revents != 0) lease.take_change();
    if (wait[0].revents != 0) {
      Status event = session.control.wait_event(Deadline::after(system_clock(), 0));
      if (event.code() != Code::kTimeout) return ok();  // gone, or it talked where it must not
    }
  }
}

void Supervisor::see_out(Running& session, const Status& why) {
  // Before the worker ends, so that the client finds the reason when its link goes.
  if (!why.ok()) (void)session.control.refuse(why);
  cut_off(session);
  const std::string how = session.worker.end();
  session.control.close();
  const AuditedSession& audited = session.audited;
  const bool broke_rules = session.worker.broke_rules();
  if (broke_rules) audit_->violation(audited, how);
  record_totals(audited, session.facts);
  audit_->session_ends(audited, why.ok() ? how : how + ": " + why.text());
  if (module_cache_) module_cache_->make_room();
  if (broke_rules) {
    FARCALL_LOG_WARN("session %s: tenant %s, user %s at %s: the worker was %s", audited.id.c_str(),
                     audited.who->tenant.c_str(), audited.who->user.c_str(), audited.from.c_str(),
                     how.c_str());
  }
  FARCALL_LOG_INFO("session %s: ended, worker %s%s%s", audited.id.c_str(), how.c_str(),
                   why.ok() ? "" : ": ", why.text().c_str());
}

void Supervisor::take_facts(Running& session) {
  const Status sound = session.facts.take(now_ms(), [&](const ModuleFact& fact) {
    if (audit_->log() != nullptr) audit_->log()->post(record_of_module(session.audited, fact));
  });
  if (sound.ok()) return;
  audit_->violation(session.audited, sound.text());
  FARCALL_LOG_WARN("session %s: %s; nothing more is taken of them", session.audited.id.c_str(),
                   sound.text().c_str());
}

void Supervisor::record_totals(const AuditedSession& audited, SessionFacts& facts) {
  security::AuditLog* log = audit_->log();
  facts.take_rest([&](const ModuleFact& fact) {
    if (log != nullptr) log->post(record_of_module(audited, fact));
  });
  if (log == nullptr) return;
  const std::int64_t ran_ms = now_ms() - audited.began_ns / 1'000'000;
  for (const security::AuditRecord& each :
       records_of_totals(audited, facts.tallies(), {.lost = facts.lost(), .ran_ms = ran_ms})) {
    log->post(each);
  }
}

}  // namespace farcall::server
