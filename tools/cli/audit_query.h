// Reading an audit log for people: which records, and in which form. Checking it is
// security/audit_verify.h's; here a line that is no record is only counted.
//
//   AuditQuery query{.kind = "session", .since = "2026-11-22"};
//   Result<AuditRead> read = read_audit(folder, query, [&](const Found& found) { … });
//
// Threads: one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "security/audit_line.h"
#include "transport/base/function_ref.h"
#include "transport/base/status.h"

namespace farcall::cli {

// Empty fields match everything.
struct AuditQuery {
  std::string kind{};  // itself, or what its kind begins with up to a dot: session
  std::string outcome{};
  std::string principal{};  // a part of it
  std::string tenant{};
  std::string lease{};
  std::string server{};
  std::string text{};   // a part of any value
  std::string since{};  // as is_moment() takes; both ends belong to it
  std::string until{};
};

// "2026-11-22", "2026-11-22T10:30", …, UTC, or "2h" before now_s (Unix): the beginning of a time as
// records have it.  Errors: kUnsupported, with what is wrong.
Result<std::string> parse_moment(const std::string& text, std::int64_t now_s);

bool matches(const AuditQuery& query, const security::AuditLine& line);

struct Found {
  const security::AuditLine& line;
  std::string_view text;  // as it stands in the file
};
struct AuditRead {
  std::uint64_t found = 0;
  std::uint64_t damaged = 0;  // lines that are no records
  std::string damaged_at;     // the first: "audit-000001.log, line 7"
};
// Every record that matches, in order.  Errors: kNotFound, kDenied, kSystem.
Result<AuditRead> read_audit(const std::string& folder, const AuditQuery& query,
                             FunctionRef<void(const Found&)> visit);

// What is not printable ASCII as \xNN.
std::string printable(std::string_view value);
// One line for a person; what a peer made up cannot break it, nor move a terminal's cursor.
std::string as_text(const security::AuditLine& line);
// RFC 4180; values that a spreadsheet would take for a formula are quoted for it as text.
std::string csv_header();
std::string as_csv(const security::AuditLine& line);

}  // namespace farcall::cli
