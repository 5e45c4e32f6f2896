// Is an audit log as it was written? Checked without the server, with the public key only.
//
//   Result<AuditVerifier> key = AuditVerifier::load("audit.pub");
//   Result<AuditReport> report = verify_audit(folder, {.keys = &keys, .anchors = {line}});
//   if (report->fault != AuditFault::kNone) print(report->at, report->text);
//
// Finds the first place that was changed, dropped, reordered, inserted or cut off. The chain shows
// it where somebody edits a file; checkpoints, where he also computes all hashes anew without the
// key; an anchor kept elsewhere, where he has the key. What stands behind the last checkpoint is
// chained but not yet signed: that its end was cut off cannot be told from a server that was
// killed. Threads: any.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "security/audit_key.h"
#include "security/audit_line.h"
#include "transport/base/status.h"

namespace farcall::security {

enum class AuditFault : std::uint8_t {
  kNone,
  kChanged,       // bytes of a record are not those that were written
  kInserted,      // a record that was not there, or one twice
  kMissing,       // records, or a file of them, are not there any more
  kReordered,     // a record stands further on than it did
  kTruncated,     // the end is gone: a later file or a checkpoint knows more
  kForged,        // the chain fits, but the key signed something else
  kOtherKey,      // a checkpoint of a key that was not given
  kOtherHistory,  // whole in itself, but not the log that an anchor is of
};
std::string_view fault_name(AuditFault fault);  // "changed", …

// How the log ends, if there is no fault.
enum class AuditTail : std::uint8_t {
  kClosed,    // by a checkpoint that says so
  kRunning,   // a server writes to it
  kUnsigned,  // neither: its server was killed, or the end was cut off behind the last checkpoint
  kCrash,     // in a part of a record: the machine or the server ended while it was written
};

struct AuditPosition {
  std::string file;
  std::uint64_t line = 0;    // 1 … in that file
  std::uint64_t record = 0;  // its number in the log: the one that should stand there
  std::uint64_t offset = 0;  // of its first byte in the file
};

struct AuditReport {
  std::uint64_t records = 0;
  std::uint64_t checkpoints = 0;
  std::uint64_t first = 0;  // numbers of records
  std::uint64_t last = 0;
  std::uint64_t signed_until = 0;  // the last checkpoint's number; 0: none
  AuditFault fault = AuditFault::kNone;
  AuditPosition at;  // of the fault, or of the end
  std::string text;  // the fault in words
  AuditTail tail = AuditTail::kUnsigned;
  std::uint64_t remains = 0;  // kCrash: bytes of no whole record
  std::string doubt;  // why the checkpoint beside the files, which shows cut ends, is of no use
};

struct AuditVerification {
  const std::vector<AuditVerifier>* keys = nullptr;  // borrowed; at least one
  std::vector<std::string> anchors{};                // checkpoints kept elsewhere, a line each
  bool archived = false;  // the first files may be gone: begin at the first that is there
};
// Checks all files of a folder, and that the checkpoint beside them fits.
// Errors: kNotFound (no log there), kDenied, kSystem; kMalformed (an anchor that is none).
Result<AuditReport> verify_audit(const std::string& folder, const AuditVerification& how);

}  // namespace farcall::security
