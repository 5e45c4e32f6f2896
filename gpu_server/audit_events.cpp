#include "gpu_server/audit_events.h"

#include "security/audit_line.h"
#include "security/crypto.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

using security::AuditDetail;
using security::AuditOutcome;
using security::AuditRecord;
namespace audit = security::audit;

constexpr std::int64_t kMinuteNs = 60'000'000'000;

AuditOutcome outcome_of(const Status& done) {
  return done.ok() ? AuditOutcome::kOk : AuditOutcome::kRefused;
}

std::string role_of(const security::PeerIdentity& who) {
  return who.kind == security::IdentityKind::kServer ? "server" : "user";
}

}  // namespace

AuditRecord record_of(const AuditedSession& session, std::string_view kind) {
  AuditRecord record{.kind = std::string(kind), .role = role_of(*session.who)};
  record.principal = security::identity_uri(*session.who);
  record.tenant = session.who->tenant;
  record.lease = session.lease;
  record.details = {{"session", session.id},
                    {"from", session.from},
                    {"carrier", session.carrier},
                    {"worker", std::to_string(session.worker)}};
  return record;
}

Result<AuditSettings> parse_audit(const std::string& words, const std::string& key_path) {
  if (words == "off") return AuditSettings{};
  AuditSettings settings{words.empty() ? security::default_audit_folder() : words, key_path};
  if (settings.folder.empty()) {
    return Status(Code::kUnsupported,
                  "there is no usual place for the audit log without HOME: say --audit DIR, or "
                  "--audit off");
  }
  return settings;
}

AuditEvents::AuditEvents(std::unique_ptr<security::AuditLog> log, const Clock& clock)
    : log_(std::move(log)), clock_(clock) {}

Result<std::unique_ptr<AuditEvents>> AuditEvents::open(const AuditSettings& settings,
                                                       const std::string& server,
                                                       const Clock& clock) {
  std::unique_ptr<security::AuditLog> log;
  if (!settings.folder.empty()) {
    auto opened = security::AuditLog::open(
        {.folder = settings.folder, .key_path = settings.key_path, .server = server});
    if (!opened.ok()) {
      return Status(opened.status().code(),
                    "no audit log: " + opened.status().text() +
                        " (--audit DIR names another place, --audit off does without)",
                    opened.status().detail());
    }
    log = std::move(opened).value();
    FARCALL_LOG_INFO("audit log in %s, key %.16s", settings.folder.c_str(),
                     log->key_fingerprint().c_str());
  } else {
    FARCALL_LOG_INFO("no audit log is kept");
  }
  return std::unique_ptr<AuditEvents>(new AuditEvents(std::move(log), clock));
}

AuditEvents::~AuditEvents() {
  const Budgets left = *budgets_.lock();
  if (left.strangers.skipped + left.known.skipped != 0) record_skipped();
}

void AuditEvents::post(AuditRecord record) {
  if (log_) log_->post(record);
}

Status AuditEvents::server_starts(std::vector<AuditDetail> how) {
  if (!log_) return ok();
  std::string all;
  for (const AuditDetail& each : how) all += each.name + "=" + each.value + "\n";
  const std::string digest = security::to_hex(security::next_hash({}, all));
  how.insert(how.begin(), AuditDetail{"configuration", digest});
  AuditRecord record{.kind = std::string(audit::kServerStart), .role = "server"};
  record.details = std::move(how);
  return log_->record(record);
}

void AuditEvents::server_stops(const std::string& why) {
  AuditRecord record{.kind = std::string(audit::kServerStop), .role = "server"};
  record.details = {{"why", why}};
  post(std::move(record));
}

Status AuditEvents::session_starts(AuditedSession& session) {
  session.began_ns = clock_.now_ns();
  if (!log_) return ok();
  Status kept = log_->record(record_of(session, audit::kSessionStart));
  if (kept.ok()) return ok();
  return {Code::kBusy,
          "the server cannot write its audit log, and starts no session until it can; try again "
          "later or use another server, and tell its operator"};
}

void AuditEvents::session_ends(const AuditedSession& session, const std::string& how) {
  if (!log_) return;
  record_skipped();
  AuditRecord record = record_of(session, audit::kSessionEnd);
  if (how != "exit 0") record.outcome = AuditOutcome::kFailed;
  record.details.push_back({"how", how});
  record.details.push_back(
      {"ms", std::to_string((clock_.now_ns() - session.began_ns) / 1'000'000)});
  post(std::move(record));
}

void AuditEvents::violation(const AuditedSession& session, const std::string& what) {
  AuditRecord record = record_of(session, audit::kViolation);
  record.outcome = AuditOutcome::kRefused;
  record.details.push_back({"what", what});
  post(std::move(record));
}

bool AuditEvents::may_record(bool is_stranger) {
  const std::int64_t minute = clock_.now_ns() / kMinuteNs;
  auto budgets = budgets_.lock();
  Budget& budget = is_stranger ? budgets->strangers : budgets->known;
  if (budget.minute != minute) {
    budget.minute = minute;
    budget.used = 0;
  }
  const int most = is_stranger ? limits::kAuditStrangersAMinute : limits::kAuditRefusalsAMinute;
  if (budget.used++ < most) return true;
  ++budget.skipped;
  return false;
}

// What was not recorded one by one until now.
void AuditEvents::record_skipped() {
  std::uint64_t strangers = 0;
  std::uint64_t known = 0;
  {
    auto budgets = budgets_.lock();
    strangers = std::exchange(budgets->strangers.skipped, 0);
    known = std::exchange(budgets->known.skipped, 0);
  }
  if (strangers + known == 0) return;
  AuditRecord record{.kind = std::string(audit::kRefusedMore), .outcome = AuditOutcome::kRefused};
  record.role = "server";
  record.details = {{"strangers", std::to_string(strangers)}, {"known", std::to_string(known)}};
  post(std::move(record));
}

void AuditEvents::refused(const security::PeerIdentity* who, const std::string& from,
                          const Status& why) {
  if (!log_ || !may_record(who == nullptr)) return;
  record_skipped();
  AuditRecord record{.kind = std::string(audit::kSessionRefused),
                     .outcome = AuditOutcome::kRefused,
                     .role = who == nullptr ? "stranger" : role_of(*who)};
  if (who != nullptr) {
    record.principal = security::identity_uri(*who);
    record.tenant = who->tenant;
  }
  record.details = {{"from", from}, {"why", why.to_string()}};
  post(std::move(record));
}

void AuditEvents::certificate_loaded(const security::PeerIdentity& own, const Status& done) {
  AuditRecord record{.kind = std::string(audit::kCertificateLoad), .outcome = outcome_of(done)};
  record.role = "operator";
  record.principal = security::identity_uri(own);
  record.details = {{"serial", own.serial}, {"until", security::date_text(own.not_after)}};
  if (!done.ok()) record.details.push_back({"why", done.to_string()});
  post(std::move(record));
}

void AuditEvents::deny_list_loaded(std::vector<AuditDetail> facts, const Status& done) {
  AuditRecord record{.kind = std::string(audit::kCertificateRevoke), .outcome = outcome_of(done)};
  record.role = "operator";
  record.details = std::move(facts);
  if (!done.ok()) record.details.push_back({"why", done.to_string()});
  post(std::move(record));
}

void AuditEvents::peer_link(const std::string& peer, bool came, const Status& done) {
  AuditRecord record{.kind = std::string(audit::kPeerLink), .outcome = outcome_of(done)};
  record.role = "server";
  record.details = {{"peer", peer}, {"direction", came ? "in" : "out"}};
  if (!done.ok()) record.details.push_back({"why", done.to_string()});
  if (!log_ || (!done.ok() && !may_record(false))) return;
  post(std::move(record));
}

}  // namespace farcall::server
