// CodeGuard: no worker is started while this server's code is not what its manifest says.
//
//   auto guard = CodeGuard::open(options, worker_path);           // security/code_integrity.h
//   guard.value()->use_log(audit_log);                            // and looks for the first time
//   Result<CodeGuard::Start> start = guard.value()->start();
//   … a worker is executed by start->program, and tells what it runs …
//   FARCALL_TRY(guard.value()->admits(start.value(), loaded));    // before it hears of its client
//
// Sessions that run go on: what they run was good when it was loaded. What is found is said in the
// log and recorded once, and once more that all is well again; every session that is refused for it
// is recorded by whoever refuses it. Clients are told the names of the files, without their places.
// Owner: the supervisor.  Threads: any; nothing is read or hashed under a lock.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "security/audit.h"
#include "security/code_integrity.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

class CodeGuard {
 public:
  struct Start {
    Fd program;                 // the worker, as it was hashed
    std::uint64_t changes = 0;  // CodeVerdict::changes before it was started
  };
  // Errors: those of CodeIntegrity::open.
  static Result<std::unique_ptr<CodeGuard>> open(const security::CodeOptions& options,
                                                 std::string worker_path);

  // Where to record, or null; looks for the first time.
  void use_log(security::AuditLog* log);

  // Looks at all that is listed, the worker and what this process itself runs: an lstat() for each
  // where nothing has changed.
  // Errors, in words for a client: kDenied, kBusy (changed just now).
  Result<Start> start();
  // loaded: what the worker runs that was started so.  Errors: kDenied, kBusy, likewise.
  Status admits(const Start& start, const std::vector<std::string>& loaded);
  // Now and then, from one thread: manifest, approvals and files, so that what changes is said
  // before a client finds it.
  void look();

  security::FileDigest digest() const { return code_->digest(); }
  const security::CodeIntegrity& code() const { return *code_; }

 private:
  // What was said already, by its text.
  struct Told {
    std::set<std::string> texts;
    std::string unread;  // why manifest or approvals cannot be taken
  };
  CodeGuard(std::unique_ptr<security::CodeIntegrity> code, std::string worker_path)
      : code_(std::move(code)), worker_path_(std::move(worker_path)) {}
  // What start() looks at; says what is new of it.
  security::CodeVerdict look_at_all();
  void tell(const security::CodeVerdict& verdict);
  void tell_finding(const security::CodeFinding& finding, bool refused);
  void tell_all_is_well(const security::CodeVerdict& verdict);
  // Which manifest is in force, and why another one is not.
  void record_manifest(const Status& taken);
  bool is_new(const std::string& text);
  void post(security::AuditRecord record);
  void save();

  const std::unique_ptr<security::CodeIntegrity> code_;
  const std::string worker_path_;
  std::vector<std::string> own_;       // what this process ran when it started
  security::AuditLog* log_ = nullptr;  // borrowed; null: nothing is recorded
  Guarded<Told> told_;
  std::atomic<bool> refusing_{false};  // what look_at_all() found last
};

// In words for a client.
Status refusal_of(const security::CodeVerdict& verdict);

}  // namespace farcall::server
