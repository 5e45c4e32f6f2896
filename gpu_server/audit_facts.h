// AuditFacts: what is recorded of a worker's facts, in the audit log's words.
//
//   post(record_of_module(session, fact));                        // while it runs
//   for (auto& record : records_of_totals(session, tallies, lost)) post(record);   // at its end
//
// Numbers and digests, as the worker claims them; never names or payloads.  Threads: any; values.
#pragma once
#include <vector>

#include "gpu_server/audit_events.h"
#include "gpu_server/session_facts.h"

namespace farcall::server {

security::AuditRecord record_of_module(const AuditedSession& session, const ModuleFact& fact);

// session.totals and session.cost; memory.peak and scrub where the session had device memory;
// quota.exceeded where it was refused some.
struct SessionEnd {
  std::uint64_t lost = 0;   // images that were loaded and not recorded
  std::int64_t ran_ms = 0;  // since its start
};
std::vector<security::AuditRecord> records_of_totals(const AuditedSession& session,
                                                     const Tallies& tallies, SessionEnd end);

}  // namespace farcall::server
