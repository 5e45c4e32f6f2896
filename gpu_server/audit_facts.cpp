#include "gpu_server/audit_facts.h"

#include "security/crypto.h"

namespace farcall::server {
namespace {

using security::AuditDetail;
using security::AuditOutcome;
using security::AuditRecord;
namespace audit = security::audit;

// Where it came from and who served it stands in session.start.
AuditRecord of(const AuditedSession& session, std::string_view kind) {
  AuditRecord record = record_of(session, kind);
  record.details = {{"session", session.id}};
  return record;
}

AuditDetail number(const char* name, std::uint64_t value) { return {name, std::to_string(value)}; }

AuditRecord totals(const AuditedSession& session, const Tallies& t, std::uint64_t lost) {
  AuditRecord record = of(session, audit::kSessionTotals);
  for (const AuditDetail& each :
       {number("calls", t[Tally::kCalls]), number("bytes_in", t[Tally::kBytesIn]),
        number("bytes_out", t[Tally::kBytesOut]), number("modules", t[Tally::kModules]),
        number("modules_lost", lost), number("unknown_handles", t[Tally::kUnknownHandles]),
        number("refused_family", t[Tally::kRefusedFamily]),
        number("refused_memory", t[Tally::kRefusedMemory]),
        number("refused_thread", t[Tally::kRefusedThread]),
        number("refused_handle", t[Tally::kRefusedHandle]),
        number("malformed", t[Tally::kMalformed])}) {
    record.details.push_back(each);
  }
  return record;
}

// Processor time of the worker; its client and the handshake have their own.
AuditRecord cost(const AuditedSession& session, const Tallies& t, std::int64_t ran_ms) {
  AuditRecord record = of(session, audit::kSessionCost);
  for (const AuditDetail& each : {number("ran_ms", static_cast<std::uint64_t>(ran_ms)),
                                  number("sealed_records", t[Tally::kSealedRecords]),
                                  number("sealed_bytes", t[Tally::kSealedBytes]),
                                  number("seal_us", t[Tally::kSealNs] / 1'000),
                                  number("opened_records", t[Tally::kOpenedRecords]),
                                  number("opened_bytes", t[Tally::kOpenedBytes]),
                                  number("open_us", t[Tally::kOpenNs] / 1'000)}) {
    record.details.push_back(each);
  }
  return record;
}

AuditRecord memory_peak(const AuditedSession& session, const Tallies& t) {
  AuditRecord record = of(session, audit::kMemoryPeak);
  record.details.push_back(number("bytes", t[Tally::kMemoryPeak]));
  record.details.push_back(number("allocations", t[Tally::kAllocations]));
  record.details.push_back(number("allocated_bytes", t[Tally::kAllocatedBytes]));
  return record;
}

AuditRecord scrub(const AuditedSession& session, const Tallies& t) {
  AuditRecord record = of(session, audit::kScrub);
  const bool is_told = t[Tally::kScrubTold] != 0;
  if (!is_told || t[Tally::kScrubFailures] != 0) record.outcome = AuditOutcome::kFailed;
  record.details.push_back({"done", is_told ? "yes" : "the worker ended before it could tell"});
  record.details.push_back(number("freed_bytes", t[Tally::kScrubFreed]));
  record.details.push_back(number("left_bytes", t[Tally::kScrubLeft]));
  record.details.push_back(number("verified_bytes", t[Tally::kScrubVerified]));
  record.details.push_back(number("unread_bytes", t[Tally::kScrubUnread]));
  record.details.push_back(number("failures", t[Tally::kScrubFailures]));
  return record;
}

}  // namespace

AuditRecord record_of_module(const AuditedSession& session, const ModuleFact& fact) {
  AuditRecord record = of(session, audit::kModuleLoad);
  if (!fact.loaded) record.outcome = AuditOutcome::kFailed;
  record.details.push_back({"sha256", security::to_hex(fact.sha256)});
  record.details.push_back(number("bytes", fact.bytes));
  record.details.push_back({"form", std::string(name_of(fact.form))});
  record.details.push_back({"from", fact.from_cache ? "cache" : "client"});
  return record;
}

std::vector<AuditRecord> records_of_totals(const AuditedSession& session, const Tallies& tallies,
                                           SessionEnd end) {
  std::vector<AuditRecord> records;
  if (tallies[Tally::kRefusedMemory] != 0) {
    AuditRecord record = of(session, audit::kQuotaExceeded);
    record.outcome = AuditOutcome::kRefused;
    record.details.push_back(number("calls", tallies[Tally::kRefusedMemory]));
    records.push_back(std::move(record));
  }
  if (tallies[Tally::kAllocations] != 0) {
    records.push_back(memory_peak(session, tallies));
    records.push_back(scrub(session, tallies));
  }
  records.push_back(totals(session, tallies, end.lost));
  records.push_back(cost(session, tallies, end.ran_ms));
  return records;
}

}  // namespace farcall::server
