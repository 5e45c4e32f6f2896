#include "tools/cli/audit_query.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "security/audit_file.h"
#include "security/audit_reader.h"
#include "security/crypto.h"

namespace farcall::cli {
namespace {

using security::AuditDetail;
using security::AuditLine;
using security::AuditRecord;

constexpr std::string_view kMomentShape = "dddd-dd-ddTdd:dd:dd.ddddddddd";

bool is_moment(std::string_view text) {
  if (text.size() > kMomentShape.size() || text.size() < 4) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (kMomentShape[i] == 'd' ? !is_digit : text[i] != kMomentShape[i]) return false;
  }
  return true;
}

// Seconds of "90s", "30m", "2h", "7d"; negative when it is none.
std::int64_t seconds_of(std::string_view text) {
  std::int64_t count = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
  if (parsed.ec != std::errc() || parsed.ptr + 1 != text.data() + text.size()) return -1;
  if (count < 0 || count > 1'000'000'000) return -1;
  switch (*parsed.ptr) {
    case 's': return count;
    case 'm': return count * 60;
    case 'h': return count * 3'600;
    case 'd': return count * 86'400;
    default: return -1;
  }
}

bool has_part(std::string_view value, std::string_view part) {
  return part.empty() || value.find(part) != std::string_view::npos;
}

bool is_of_kind(std::string_view kind, std::string_view wanted) {
  if (wanted.empty() || kind == wanted) return true;
  return kind.size() > wanted.size() && kind.starts_with(wanted) && kind[wanted.size()] == '.';
}

bool has_text(const AuditRecord& record, std::string_view text) {
  if (text.empty() || has_part(record.principal, text)) return true;
  return std::any_of(record.details.begin(), record.details.end(),
                     [&](const AuditDetail& each) { return has_part(each.value, text); });
}

std::string details_of(const AuditRecord& record) {
  std::string text;
  for (const AuditDetail& each : record.details) {
    if (each.value.empty()) continue;
    const std::string value = printable(each.value);
    const bool quoted = value.find_first_of(" \"=") != std::string::npos;
    text += (text.empty() ? "" : " ") + each.name + "=" + (quoted ? "\"" + value + "\"" : value);
  }
  return text;
}

std::string csv_field(std::string_view value) {
  std::string text = printable(value);
  if (!text.empty() && std::string_view("=+-@").find(text[0]) != std::string_view::npos) {
    text.insert(0, 1, '\'');
  }
  std::string field = "\"";
  for (char c : text) {
    if (c == '"') field += '"';
    field += c;
  }
  return field + '"';
}

}  // namespace

std::string printable(std::string_view value) {
  std::string text;
  for (char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      text += escaped;
    }
  }
  return text;
}

Result<std::string> parse_moment(const std::string& text, std::int64_t now_s) {
  if (const std::int64_t ago = seconds_of(text); ago >= 0) {
    const std::string time = security::audit_time((now_s - ago) * 1'000'000'000);
    return time.substr(0, std::string_view("2026-11-22T10:30:00").size());
  }
  if (is_moment(text)) return text;
  return Status(Code::kUnsupported, "\"" + text +
                                        "\" is no time: 2026-11-22, 2026-11-22T10:30 (UTC), or "
                                        "how long ago: 90s, 30m, 2h, 7d");
}

bool matches(const AuditQuery& query, const AuditLine& line) {
  const AuditRecord& record = line.record;
  const std::string_view time = line.time;
  return is_of_kind(record.kind, query.kind) &&
         (query.outcome.empty() || outcome_name(record.outcome) == query.outcome) &&
         has_part(record.principal, query.principal) &&
         (query.tenant.empty() || record.tenant == query.tenant) &&
         (query.lease.empty() || record.lease == query.lease) &&
         (query.server.empty() || record.server == query.server) && has_text(record, query.text) &&
         time.substr(0, query.since.size()) >= query.since &&
         (query.until.empty() || time.substr(0, query.until.size()) <= query.until);
}

Result<AuditRead> read_audit(const std::string& folder, const AuditQuery& query,
                             FunctionRef<void(const Found&)> visit) {
  auto files = security::audit_files(folder);
  if (!files.ok()) return files.status();
  if (files->empty()) return Status(Code::kNotFound, folder + " holds no audit log");
  AuditRead read;
  for (std::uint64_t number : files.value()) {
    const std::string name = security::audit_file_name(number);
    auto lines = security::AuditLines::open(folder + "/" + name);
    if (!lines.ok()) return lines.status();
    while (lines->next()) {
      Result<AuditLine> line = security::parse_line(lines->text());
      if (!line.ok()) {
        if (read.damaged++ == 0) {
          read.damaged_at = name + ", line " + std::to_string(lines->number());
        }
      } else if (matches(query, line.value())) {
        ++read.found;
        visit({line.value(), lines->text()});
      }
    }
    if (!lines->status().ok()) return lines->status();
  }
  return read;
}

std::string as_text(const AuditLine& line) {
  const AuditRecord& record = line.record;
  std::string time = line.time.substr(0, std::string_view("2026-11-22T10:30:00.123").size());
  time[10] = ' ';
  char head[160];
  std::snprintf(head, sizeof head, "%7llu  %s  %-18s %-8s",
                static_cast<unsigned long long>(line.sequence), time.c_str(), record.kind.c_str(),
                std::string(outcome_name(record.outcome)).c_str());
  std::string text = head;
  if (!record.principal.empty()) text += printable(record.principal) + "  ";
  if (record.principal.empty() && record.role == "stranger") text += "a stranger  ";
  if (!record.lease.empty()) text += "lease " + printable(record.lease) + "  ";
  return text + details_of(record);
}

std::string csv_header() {
  return "seq,time,kind,outcome,role,principal,tenant,lease,server,details,hash\r\n";
}

std::string as_csv(const AuditLine& line) {
  const AuditRecord& record = line.record;
  std::string row = std::to_string(line.sequence);
  const std::string outcome(outcome_name(record.outcome));
  for (const std::string& each :
       {line.time, record.kind, outcome, record.role, record.principal, record.tenant, record.lease,
        record.server, details_of(record), security::to_hex(line.hash)}) {
    row += ',' + csv_field(each);
  }
  return row + "\r\n";
}

}  // namespace farcall::cli
