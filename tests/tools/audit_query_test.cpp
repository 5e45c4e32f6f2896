#include "tools/cli/audit_query.h"

#include <doctest/doctest.h>

#include "tests/security/audit_folder.h"
#include "tools/cli/audit_cost.h"

namespace farcall::cli {
namespace {

using farcall::testing::AuditFolder;
using security::AuditLine;

constexpr std::int64_t kNow = 1'795'000'000;  // 2026-11-18 11:06:40

AuditLine some_line() {
  AuditLine line;
  line.sequence = 7;
  line.time = "2026-11-18T10:30:15.123456789Z";
  line.record = AuditFolder::session("ann");
  line.record.lease = "l1";
  line.record.server = "gpu1";
  return line;
}

TEST_CASE("a moment is a time's beginning, or how long ago") {
  CHECK(parse_moment("2026-11-18", kNow).value() == "2026-11-18");
  CHECK(parse_moment("2026-11-18T10:30", kNow).value() == "2026-11-18T10:30");
  CHECK(parse_moment("2h", kNow).value() == "2026-11-18T09:06:40");
  CHECK(parse_moment("7d", kNow).value() == "2026-11-11T11:06:40");
  for (const char* wrong : {"", "yesterday", "2h ", "h", "-2h", "2026/11/18", "18.11.2026", "9y",
                            "99999999999999999999d", "2026-11-18T10:30:15.1234567890Z"}) {
    CAPTURE(wrong);
    CHECK(parse_moment(wrong, kNow).status().code() == Code::kUnsupported);
  }
}

TEST_CASE("a query takes what it names and nothing else") {
  const AuditLine line = some_line();
  for (const AuditQuery& query :
       {AuditQuery{}, AuditQuery{.kind = "session"}, AuditQuery{.kind = "session.start"},
        AuditQuery{.outcome = "ok"}, AuditQuery{.principal = "/user/ann"},
        AuditQuery{.tenant = "acme"}, AuditQuery{.lease = "l1"}, AuditQuery{.server = "gpu1"},
        AuditQuery{.text = "4711"}, AuditQuery{.since = "2026-11-18"},
        AuditQuery{.until = "2026-11-18"}, AuditQuery{.since = "2026-11-18T10:30:15.12"}}) {
    CHECK(matches(query, line));
  }
  for (const AuditQuery& query :
       {AuditQuery{.kind = "sess"}, AuditQuery{.kind = "session.end"},
        AuditQuery{.outcome = "failed"}, AuditQuery{.principal = "/user/bob"},
        AuditQuery{.tenant = "acm"}, AuditQuery{.lease = "l2"}, AuditQuery{.server = "gpu2"},
        AuditQuery{.text = "4712"}, AuditQuery{.since = "2026-11-19"},
        AuditQuery{.until = "2026-11-17"}, AuditQuery{.until = "2026-11-18T10:29"}}) {
    CHECK_FALSE(matches(query, line));
  }
}

TEST_CASE("what a peer made up breaks neither a line, nor a table, nor a spreadsheet") {
  AuditLine line = some_line();
  line.record.details = {{"from", "=cmd|' /C calc'!A0"}, {"why", "a\"b\r\n\x1b[2J,\xff"}};
  line.record.principal = "=1+1";
  const std::string text = as_text(line);
  const std::string row = as_csv(line);
  for (const std::string& each : {text, row.substr(0, row.size() - 2)}) {
    for (char c : each) CHECK((c >= 0x20 && c < 0x7f));
  }
  CHECK(row.find("\"'=1+1\"") != std::string::npos);
  CHECK(row.ends_with("\r\n"));
  CHECK(text.find("session.start") != std::string::npos);
  CHECK(text.find("\\x1b") != std::string::npos);
}

TEST_CASE("a log is read in order, and what is no record is counted") {
  AuditFolder folder;
  folder.fill(5);
  std::vector<std::uint64_t> seen;
  auto visit = [&](const Found& found) { seen.push_back(found.line.sequence); };
  auto read = read_audit(folder.path(), {.kind = "session"}, visit);
  REQUIRE(read.ok());
  CHECK(seen == std::vector<std::uint64_t>{3, 4, 5, 6, 7});
  CHECK(read->damaged == 0);
  folder.flip(1, 3);
  read = read_audit(folder.path(), {.kind = "session"}, visit);
  CHECK(read->damaged == 1);
  CHECK(read->damaged_at == "audit-000001.log, line 1");
  CHECK(read_audit(folder.base("none"), {}, visit).status().code() == Code::kNotFound);
}

AuditLine cost_line(const std::string& user, const std::string& lease, const char* seal_us) {
  AuditLine line = some_line();
  line.record = AuditFolder::session(user);
  line.record.kind = security::audit::kSessionCost;
  line.record.lease = lease;
  line.record.details = {{"ran_ms", "2000"},
                         {"sealed_bytes", "1024"},
                         {"opened_bytes", "2048"},
                         {"seal_us", seal_us},
                         {"open_us", "100"}};
  return line;
}

TEST_CASE("what encryption cost is summed up by whom, the dearest first") {
  CostTable table(CostTable::By::kLease);
  table.add(some_line());  // another kind
  table.add(cost_line("ann", "l1", "900"));
  table.add(cost_line("ann", "l1", "900"));
  table.add(cost_line("bob", "", "5000"));
  table.add(cost_line("eve", "l3", "18446744073709551615"));
  table.add(cost_line("eve", "l3", "18446744073709551615"));
  table.add(cost_line("eve", "l3", "many"));
  const auto rows = table.rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].name == "l3");
  CHECK(rows[0].seal_us == UINT64_MAX);  // no sum that wraps
  CHECK(rows[0].open_us == 300);
  CHECK(rows[1].name == cost_line("bob", "", "0").record.principal);
  CHECK(rows[2].sessions == 2);
  CHECK(rows[2].percent() == doctest::Approx(0.05));
  CHECK(to_text(rows).find("0.050 %  l1\n") != std::string::npos);
  CHECK(to_json(rows).find("\"seal_us\": 1800") != std::string::npos);
  CHECK_FALSE(CostTable::parse("leases"));
}

}  // namespace
}  // namespace farcall::cli
