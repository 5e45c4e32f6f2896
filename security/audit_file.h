// The files of an audit log: their names, and how bytes get into one so that they stay.
//
//   Result<std::unique_ptr<AuditFile>> file = open_audit_file(folder + "/" + audit_file_name(1));
//   FARCALL_TRY(file.value()->append(lines));  FARCALL_TRY(file.value()->sync());
//
// An interface, so that a test can have a disk that is full.  Threads: one.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

class AuditFile {
 public:
  virtual ~AuditFile() = default;
  // All of it or an error; then a part may stand there, which cut() takes away.  Errors: kSystem.
  virtual Status append(std::string_view bytes) = 0;
  // What was appended outlives a crash of the machine.  Errors: kSystem.
  virtual Status sync() = 0;
  // Back to a length it had.  Errors: kSystem.
  virtual Status cut(std::uint64_t bytes) = 0;
};
using AuditFileOpener = std::function<Result<std::unique_ptr<AuditFile>>(const std::string& path)>;

// Opens or makes it, for its owner only, and makes sure that its name outlives a crash.
Result<std::unique_ptr<AuditFile>> open_audit_file(const std::string& path);

// "audit-000001.log" for 1 … kAuditFilesMax - 1; they sort by name.
std::string audit_file_name(std::uint64_t number);
// 0 for a name that is none of an audit file.
std::uint64_t audit_file_number(std::string_view name);
// Numbers of the audit files in a folder, in order.  Errors: kNotFound, kDenied, kSystem.
Result<std::vector<std::uint64_t>> audit_files(const std::string& folder);

// Makes the folder, for its owner only, and takes it for this process as long as the Fd lives.
// Errors: kBusy when another process has it; kDenied for one that others can write to; kSystem.
Result<Fd> take_audit_folder(const std::string& folder);
// Does a process write to this log now?
bool is_audit_folder_taken(const std::string& folder);

}  // namespace farcall::security
