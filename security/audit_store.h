// AuditStore: a log's chain and its current file, written by one thread; AuditLog's inner half.
//
//   Result<std::unique_ptr<AuditStore>> store = AuditStore::open(options);
//   FARCALL_TRY(store.value()->write(entries, "records"));
//
// Owner: AuditLog.  Threads: one.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "security/audit.h"
#include "security/audit_key.h"
#include "security/audit_line.h"

namespace farcall::security {

struct AuditEntry {
  std::string time;
  std::string fields;
};

// Where a log that is there already ends.
struct AuditEnd {
  std::uint64_t file_number = 1;
  std::uint64_t file_bytes = 0;  // of whole records
  AuditPlace place;
  std::string log;                     // its identifier; empty: there is no log yet
  std::uint64_t unsigned_records = 0;  // since the last checkpoint
  bool closed = false;                 // by a checkpoint that says so
  std::uint64_t cut_bytes = 0;         // beyond file_bytes: no whole records
};
// Reads the last file.
// Errors: kDenied when it has been tampered with; kSystem.
Result<AuditEnd> find_audit_end(const std::string& folder);

class AuditStore {
 public:
  static Result<std::unique_ptr<AuditStore>> open(const AuditOptions& options);

  // All on disk, or none.
  //   sign  why a checkpoint follows them: records, time, close; empty: none
  // Errors: kSystem.
  Status write(std::span<const AuditEntry> entries, std::string_view sign);

  std::uint64_t unsigned_records() const { return unsigned_records_; }
  const std::string& checkpoint() const { return checkpoint_; }
  const std::string& folder() const { return options_.folder; }
  const std::string& key_fingerprint() const { return signer_.fingerprint(); }
  std::int64_t now_ns() const;

 private:
  AuditStore(const AuditOptions& options, Fd taken, AuditSigner signer, AuditEnd end);
  Status start();
  Status open_current();
  Status move_remains_aside();
  Status begin_next_file();
  Status commit(const std::string& text);
  std::string file_header(AuditPlace* place) const;
  Result<std::string> sign(std::string_view why, AuditPlace* place) const;
  std::string path() const;

  const AuditOptions options_;
  Fd taken_;
  AuditSigner signer_;
  AuditEnd end_;  // as it was found, then as it is: number, bytes, place, log
  std::uint64_t unsigned_records_ = 0;
  std::string checkpoint_;
  std::unique_ptr<AuditFile> file_;
  bool ragged_ = false;  // the file may hold a part of something beyond end_.file_bytes
};

}  // namespace farcall::security
