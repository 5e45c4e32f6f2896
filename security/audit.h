// AuditLog: who did what and when, in files that cannot be changed without it being seen.
//
//   Result<std::unique_ptr<AuditLog>> log = AuditLog::open({.folder = "/var/log/farcall/audit"});
//   Status kept = log.value()->record({.kind = audit::kSessionStart, .role = "user",
//                                      .principal = identity_uri(peer), .tenant = peer.tenant,
//                                      .details = {{"from", "10.0.0.7:4711"}}});
//   if (!kept.ok()) refuse(kept);                 // what cannot be recorded must not happen
//   log.value()->post({.kind = audit::kSessionEnd, …});   // happened already: kept until written
//
// A record is a line of JSON. Its hash covers its bytes and the hash before it; checkpoints, signed
// with Ed25519, cover all that stands before them: at open and close, after kAuditCheckpointRecords
// records or kAuditCheckpointMs. Files are followed by the next at a size; the chain goes on. Who
// can read the key can write another history, but not one that fits a checkpoint kept elsewhere.
// Reading and checking: audit_verify.h. Format: security/README.md.
//
// Group commit: one thread writes what has gathered, one fdatasync for all who wait. When record()
// returns ok, the record outlives a crash of this machine. When a write fails (disk full), those
// who wait get the error and their records are dropped and counted; the log tries again by itself.
// Owner: one process per folder (a second one is refused).  Threads: any; one thread of its own.
// Never records payloads, keys or tokens: callers name what, not what was in it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "security/audit_file.h"
#include "transport/base/limits_audit.h"
#include "transport/base/status.h"

namespace farcall::security {

// What records are of. A new kind: dots between words of a-z and _, at most 32 bytes, listed here.
namespace audit {
inline constexpr std::string_view kServerStart = "server.start";
inline constexpr std::string_view kServerStop = "server.stop";
inline constexpr std::string_view kSessionStart = "session.start";
inline constexpr std::string_view kSessionRefused = "session.refused";
inline constexpr std::string_view kSessionEnd = "session.end";
inline constexpr std::string_view kSessionTotals = "session.totals";  // as its worker counted
inline constexpr std::string_view kSessionCost = "session.cost";      // what its encryption took
inline constexpr std::string_view kRefusedMore = "refused.more";      // a count, instead of a flood
inline constexpr std::string_view kConfigChange = "config.change";
inline constexpr std::string_view kCertificateLoad = "certificate.load";
inline constexpr std::string_view kCertificateRevoke = "certificate.revoke";
// An authority's (security/ca_folder.h):
inline constexpr std::string_view kCertificateIssue = "certificate.issue";
inline constexpr std::string_view kCertificateRenew = "certificate.renew";
inline constexpr std::string_view kCertificateRefused = "certificate.refused";
inline constexpr std::string_view kTokenMake = "token.make";
inline constexpr std::string_view kPeerLink = "peer.link";
inline constexpr std::string_view kLeaseGrant = "lease.grant";
inline constexpr std::string_view kLeaseRefused = "lease.refused";
inline constexpr std::string_view kLeaseEnd = "lease.end";
inline constexpr std::string_view kModuleLoad = "module.load";  // hash and bytes
inline constexpr std::string_view kMemoryPeak = "memory.peak";
inline constexpr std::string_view kQuotaExceeded = "quota.exceeded";
inline constexpr std::string_view kScrub = "scrub";  // how much was wiped, and read back
inline constexpr std::string_view kViolation = "violation";
inline constexpr std::string_view kContainmentHit = "containment.hit";  // told of, nothing done
// A session is written down in detail, or not any more.
inline constexpr std::string_view kSessionDetail = "session.detail";
inline constexpr std::string_view kQuarantineFreeze = "quarantine.freeze";
inline constexpr std::string_view kQuarantineRelease = "quarantine.release";
inline constexpr std::string_view kQuarantineEnd = "quarantine.end";
inline constexpr std::string_view kManifestLoad = "manifest.load";
inline constexpr std::string_view kCodeVerified = "code.verified";  // all as the manifest says
inline constexpr std::string_view kCodeRefused = "code.refused";    // a file that is not
inline constexpr std::string_view kCodeApproved = "code.approved";  // such a file, let pass
// The log's own:
inline constexpr std::string_view kOpen = "audit.open";
inline constexpr std::string_view kFile = "audit.file";  // the first of a further file
inline constexpr std::string_view kCheckpoint = "audit.checkpoint";
inline constexpr std::string_view kRecovered = "audit.recovered";
inline constexpr std::string_view kGap = "audit.gap";  // what could not be recorded, counted
}  // namespace audit

enum class AuditOutcome : std::uint8_t { kOk, kRefused, kFailed };
std::string_view outcome_name(AuditOutcome outcome);  // "ok", "refused", "failed"

struct AuditDetail {
  std::string name;  // 1 … kAuditNameBytesMax of a-z 0-9 _ . -
  std::string value;
  bool operator==(const AuditDetail&) const = default;
};

// Values may come from a hostile peer: at most kAuditValueBytesMax of each are kept, and what is
// not printable ASCII is escaped. Empty where it does not apply.
struct AuditRecord {
  std::string kind{};  // one of audit::k…
  AuditOutcome outcome = AuditOutcome::kOk;
  std::string role{};       // of who did it: user, server, operator, stranger
  std::string principal{};  // identity URI of who did it
  std::string tenant{};
  std::string lease{};
  std::string server{};  // empty: AuditOptions::server
  std::vector<AuditDetail> details{};
  bool operator==(const AuditRecord&) const = default;
};

struct AuditOptions {
  std::string folder{};
  std::string key_path{};  // Ed25519, PEM; empty: audit.key in the folder; made when not there
  std::string server{};    // whose log this is
  std::uint64_t file_bytes_max = limits::kAuditFileBytes;
  std::uint64_t checkpoint_records = limits::kAuditCheckpointRecords;
  std::int64_t checkpoint_ms = limits::kAuditCheckpointMs;
  std::int64_t retry_ms = limits::kAuditRetryMs;
  std::function<std::int64_t()> now_ns{};  // wall clock, Unix; empty: the system's
  AuditFileOpener open_file{};             // empty: open_audit_file
};

// /var/log/farcall/audit for root, else below XDG_STATE_HOME or HOME (.local/state/farcall/audit);
// empty where neither is known.
std::string default_audit_folder();

class AuditLog {
 public:
  // Makes folder (0700) and key (0600) where there are none, goes on behind the last record, and
  // records audit.open with a checkpoint. The end of a write that a crash cut short is moved to a
  // file beside and recorded.
  // Errors: kBusy (another process writes there), kDenied (others can write to the folder, or what
  // is there has been tampered with), kNotFound, kSystem.
  static Result<std::unique_ptr<AuditLog>> open(const AuditOptions& options);
  // Writes what is posted, and a checkpoint.
  ~AuditLog();

  // Returns when the record is on disk.
  // Errors: kSystem with cause and what to do (it is not recorded, the next may be again),
  // kUnsupported (a kind or a detail's name that must not be).
  Status record(const AuditRecord& record);
  // For what has happened already: returns at once; kept in memory while the log cannot be written,
  // up to kAuditHeldMax, and counted beyond.
  void post(const AuditRecord& record);

  // The latest checkpoint, a line to be kept where this machine cannot change it: `farcall audit
  // verify --anchor` finds it again in the log, or says that the log is not the one it was.
  std::string checkpoint() const;
  const std::string& folder() const;
  // SHA-256 of the public key, hexadecimal.
  const std::string& key_fingerprint() const;

 private:
  class Writer;
  explicit AuditLog(std::unique_ptr<Writer> writer);
  std::unique_ptr<Writer> writer_;
};

}  // namespace farcall::security
