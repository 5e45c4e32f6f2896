#include "gpu_server/code_guard.h"

#include <algorithm>
#include <filesystem>

#include "gpu_server/loaded_code.h"
#include "security/crypto.h"
#include "security/identity.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

using security::AuditOutcome;
using security::AuditRecord;
using security::CodeFinding;
using security::CodeVerdict;
using Kind = security::CodeFinding::Kind;
namespace audit = security::audit;

constexpr const char* kWhatToDo =
    "; no session is started until it is restored, or a manifest or an approval that says so is "
    "put in force (farcall manifest approve; security/runbooks/code_changed.md)";

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// The place in which the kernel sees it.
std::string real_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

}  // namespace

Status refusal_of(const CodeVerdict& verdict) {
  std::string names;
  std::size_t named = 0;
  for (const CodeFinding& each : verdict.findings) {
    if (++named > 3) break;
    names += (names.empty() ? "" : ", ") + base_name(each.path);
  }
  if (named > 3) names += ", …";
  return {Code::kDenied,
          "the server starts no session: its code is not what its signed manifest says (" + names +
              "); use another server, and tell this one's operator"};
}

Result<std::unique_ptr<CodeGuard>> CodeGuard::open(const security::CodeOptions& options,
                                                   std::string worker_path) {
  auto code = security::CodeIntegrity::open(options);
  if (!code.ok()) return code.status();
  return std::unique_ptr<CodeGuard>(new CodeGuard(std::move(code).value(), std::move(worker_path)));
}

void CodeGuard::use_log(security::AuditLog* log) {
  log_ = log;
  if (const Status& cache = code_->cache_status(); !cache.ok()) {
    FARCALL_LOG_INFO("%s: all files of the manifest are hashed once", cache.text().c_str());
  }
  record_manifest(ok());
  Result<std::vector<std::string>> own = own_code();
  if (!own.ok()) FARCALL_LOG_WARN("manifest: %s", own.status().to_string().c_str());
  if (own.ok()) own_ = std::move(own).value();
  const CodeVerdict verdict = look_at_all();
  if (verdict.fine()) tell_all_is_well(verdict);
  save();
}

CodeVerdict CodeGuard::look_at_all() {
  std::vector<std::string> loaded = own_;
  loaded.push_back(real_path(worker_path_));
  CodeVerdict verdict = code_->look(loaded);
  tell(verdict);
  if (!verdict.fine()) {
    refusing_ = true;
  } else if (refusing_.exchange(false)) {
    told_.lock()->texts.clear();
    tell_all_is_well(verdict);
  }
  return verdict;
}

Result<CodeGuard::Start> CodeGuard::start() {
  const CodeVerdict verdict = look_at_all();
  if (!verdict.fine()) return refusal_of(verdict);
  Result<Fd> program = code_->open_measured(real_path(worker_path_));
  if (!program.ok()) {
    return Status(Code::kBusy, "the server's code was changed just now; try again");
  }
  return Start{std::move(program).value(), verdict.changes};
}

Status CodeGuard::admits(const Start& start, const std::vector<std::string>& loaded) {
  const CodeVerdict verdict = code_->look(loaded);
  tell(verdict);
  if (!verdict.fine()) return refusal_of(verdict);
  if (verdict.changes == start.changes) return ok();
  return {Code::kBusy, "the server's code was changed while a worker was started; try again"};
}

void CodeGuard::look() {
  bool changed = false;
  const Status taken = code_->reload(&changed);
  bool said = false;
  {
    auto told = told_.lock();
    said = told->unread == taken.text();
    told->unread = taken.text();
  }
  if (changed || (!taken.ok() && !said)) record_manifest(taken);
  if (changed) {
    FARCALL_LOG_INFO("manifest %s is in force now, with %zu approval(s)",
                     security::to_hex(code_->digest()).c_str(), code_->approvals());
  } else if (!taken.ok() && !said) {
    FARCALL_LOG_ERROR("%s; the manifest and the approvals from before stay in force",
                      taken.text().c_str());
  }
  (void)look_at_all();
  save();
}

void CodeGuard::record_manifest(const Status& taken) {
  AuditRecord record{.kind = std::string(audit::kManifestLoad), .role = "operator"};
  record.outcome = taken.ok() ? AuditOutcome::kOk : AuditOutcome::kRefused;
  record.details = {{"manifest", security::to_hex(code_->digest())},
                    {"approvals", std::to_string(code_->approvals())}};
  if (!taken.ok()) record.details.push_back({"why", taken.to_string()});
  post(std::move(record));
}

bool CodeGuard::is_new(const std::string& text) { return told_.lock()->texts.insert(text).second; }

void CodeGuard::tell(const CodeVerdict& verdict) {
  for (const CodeFinding& each : verdict.findings) tell_finding(each, true);
  for (const CodeFinding& each : verdict.unlisted) tell_finding(each, false);
  for (const security::Approval& each : verdict.approved) {
    if (!is_new(each.path + security::to_hex(each.sha256))) continue;
    FARCALL_LOG_WARN("%s is not what the manifest says, and approved by %s until %s: %s",
                     each.path.c_str(), each.owner.c_str(), security::date_text(each.until).c_str(),
                     each.reason.c_str());
    AuditRecord record{.kind = std::string(audit::kCodeApproved), .role = "operator"};
    record.details = {{"file", each.path},
                      {"found", security::to_hex(each.sha256)},
                      {"owner", each.owner},
                      {"reason", each.reason},
                      {"until", security::date_text(each.until)}};
    post(std::move(record));
  }
}

void CodeGuard::tell_finding(const CodeFinding& finding, bool refused) {
  const std::string text = finding.text();
  if (!is_new(text)) return;
  if (refused) {
    FARCALL_LOG_ERROR("%s%s", text.c_str(), kWhatToDo);
  } else {
    FARCALL_LOG_WARN("%s (--manifest-unlisted warn: told of only)", text.c_str());
  }
  AuditRecord record{.kind = std::string(audit::kCodeRefused), .role = "server"};
  record.outcome = refused ? AuditOutcome::kRefused : AuditOutcome::kOk;
  record.details = {{"file", finding.path}};
  if (finding.kind == Kind::kChanged) {
    record.details.push_back({"expected", security::to_hex(finding.expected)});
  }
  if (finding.kind == Kind::kChanged || finding.kind == Kind::kUnlisted) {
    record.details.push_back({"found", security::to_hex(finding.found)});
  } else {
    record.details.push_back({"why", finding.why});
  }
  post(std::move(record));
}

void CodeGuard::tell_all_is_well(const CodeVerdict& verdict) {
  FARCALL_LOG_INFO("%zu files are what the manifest says, %llu bytes of them hashed for it",
                   verdict.files, static_cast<unsigned long long>(verdict.hashed));
  AuditRecord record{.kind = std::string(audit::kCodeVerified), .role = "server"};
  record.details = {{"manifest", security::to_hex(code_->digest())},
                    {"files", std::to_string(verdict.files)},
                    {"hashed", std::to_string(verdict.hashed)},
                    {"approved", std::to_string(verdict.approved.size())}};
  post(std::move(record));
}

void CodeGuard::post(AuditRecord record) {
  if (log_ != nullptr) log_->post(record);
}

// What cannot be kept is hashed again at the next start.
void CodeGuard::save() {
  const Status kept = code_->save();
  if (!kept.ok() && is_new(kept.text())) {
    FARCALL_LOG_WARN("%s: the next start hashes all files of the manifest", kept.text().c_str());
  }
}

}  // namespace farcall::server
