#include "gpu_server/audit_events.h"

#include <doctest/doctest.h>

#include "security/audit_line.h"
#include "tests/security/audit_folder.h"
#include "transport/base/limits_audit.h"

namespace farcall::server {
namespace {

using farcall::testing::AuditFolder;

struct TestClock final : Clock {
  std::int64_t now_ns() const override { return ns; }
  std::int64_t ns = 0;
};

security::PeerIdentity ann() {
  security::PeerIdentity who;
  who.pool = "lab";
  who.tenant = "acme";
  who.user = "ann";
  return who;
}

std::unique_ptr<AuditEvents> open(const AuditFolder& folder, const Clock& clock) {
  auto events = AuditEvents::open({.folder = folder.path()}, "gpu1", clock);
  REQUIRE_MESSAGE(events.ok(), events.status().to_string());
  return std::move(events).value();
}

std::vector<security::AuditRecord> records(const AuditFolder& folder, std::string_view kind) {
  std::vector<security::AuditRecord> all;
  for (const std::string& each : folder.lines()) {
    auto line = security::parse_line(std::string_view(each).substr(0, each.size() - 1));
    REQUIRE(line.ok());
    if (line->record.kind == kind) all.push_back(line->record);
  }
  return all;
}

TEST_CASE("a session is recorded from its start to its end") {
  AuditFolder folder;
  TestClock clock;
  const security::PeerIdentity who = ann();
  {
    auto events = open(folder, clock);
    AuditedSession session{.who = &who, .from = "10.0.0.7:4711", .id = "0badf00d"};
    session.worker = 17;
    REQUIRE(events->session_starts(session).ok());
    clock.ns += 1'234'000'000;
    events->violation(session, "killed by its sandbox: it asked for ptrace");
    events->session_ends(session, "signal 9");
  }
  const auto ends = records(folder, security::audit::kSessionEnd);
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].outcome == security::AuditOutcome::kFailed);
  CHECK(ends[0].principal == "spiffe://lab/tenant/acme/user/ann");
  CHECK(ends[0].role == "user");
  CHECK(ends[0].server == "gpu1");
  CHECK(detail(ends[0], "how") == "signal 9");
  CHECK(detail(ends[0], "ms") == "1234");
  CHECK(records(folder, security::audit::kSessionStart).size() == 1);
  const auto violations = records(folder, security::audit::kViolation);
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].outcome == security::AuditOutcome::kRefused);
  CHECK(detail(violations[0], "what") == "killed by its sandbox: it asked for ptrace");
  CHECK(violations[0].principal == ends[0].principal);
}

TEST_CASE("who is refused without end gets a count, not a line each") {
  AuditFolder folder;
  TestClock clock;
  const security::PeerIdentity who = ann();
  const Status why(Code::kDenied, "no certificate");
  constexpr int kCame = 10'000;
  {
    auto events = open(folder, clock);
    for (int i = 0; i < kCame; ++i) events->refused(nullptr, "10.0.0.8:1", why);
    // A flood of strangers leaves room for those who are known.
    for (int i = 0; i < 3; ++i) events->refused(&who, "10.0.0.7:1", why);
    clock.ns += 61'000'000'000;
    events->refused(nullptr, "10.0.0.9:1", why);
  }
  const auto refused = records(folder, security::audit::kSessionRefused);
  CHECK(refused.size() == limits::kAuditStrangersAMinute + 3 + 1);
  std::size_t counted = 0;
  for (const auto& each : records(folder, security::audit::kRefusedMore)) {
    counted += std::stoul(std::string(detail(each, "strangers")));
  }
  CHECK(counted == kCame - limits::kAuditStrangersAMinute);
  CHECK(refused[0].role == "stranger");
  CHECK(refused[0].principal.empty());
  CHECK(detail(refused[0], "why") == "denied: no certificate");
}

TEST_CASE("two configurations have two digests, one has one") {
  AuditFolder folder;
  TestClock clock;
  {
    auto events = open(folder, clock);
    REQUIRE(events->server_starts({{"listen", "a:1"}}).ok());
    REQUIRE(events->server_starts({{"listen", "a:1"}}).ok());
    REQUIRE(events->server_starts({{"listen", "a:2"}}).ok());
  }
  const auto starts = records(folder, security::audit::kServerStart);
  REQUIRE(starts.size() == 3);
  CHECK(detail(starts[0], "configuration") == detail(starts[1], "configuration"));
  CHECK(detail(starts[0], "configuration") != detail(starts[2], "configuration"));
}

TEST_CASE("without a folder nothing is recorded and nothing refused") {
  auto events = AuditEvents::open({}, "gpu1");
  REQUIRE(events.ok());
  const security::PeerIdentity who = ann();
  AuditedSession session{.who = &who, .from = "x", .id = "y"};
  CHECK(events.value()->session_starts(session).ok());
  events.value()->session_ends(session, "exit 0");
  events.value()->refused(nullptr, "x", Status(Code::kDenied, "y"));
  CHECK(events.value()->log() == nullptr);
  CHECK(parse_audit("off", "")->folder.empty());
  CHECK(parse_audit("/var/x", "k")->folder == "/var/x");
}

TEST_CASE("a log that cannot be opened says what to do about it") {
  AuditFolder folder;
  AuditFolder::write_path(folder.base("file"), "x");
  auto events = AuditEvents::open({.folder = folder.base("file") + "/audit"}, "gpu1");
  REQUIRE_FALSE(events.ok());
  CHECK(events.status().text().find("--audit DIR") != std::string::npos);
}

}  // namespace
}  // namespace farcall::server
