// The supervisor and a session that runs: what ends it, and what its worker tells meanwhile.
#include <poll.h>

#include "gpu_server/audit_facts.h"
#include "gpu_server/supervisor.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

}  // namespace

// Returns when the client, the worker, the lease or the server is to end.
Status Supervisor::watch(Running& session) {
  int dials = 0;
  const Admitted& lease = session.lease;
  for (;;) {
    if (Status still = lease.state(); !still.ok()) return still;
    pollfd wait[] = {{.fd = session.control.fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.worker.end_fd(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = session.worker.socket(), .events = POLLIN, .revents = 0},
                     {.fd = lease.changed_fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.place.fd(), .events = POLLIN, .revents = 0},
                     {.fd = session.facts.fd(now_ms()), .events = POLLIN, .revents = 0}};
    if (::poll(wait, 7, lease.wait_ms()) < 0 && errno != EINTR) return ok();
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
  for (const security::AuditRecord& each :
       records_of_totals(audited, facts.tallies(), facts.lost())) {
    log->post(each);
  }
}

}  // namespace farcall::server
