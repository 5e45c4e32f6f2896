// What is too much in a window, for whom, and what becomes of who did it.
#include "gpu_server/containment.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "gpu_server/containment_file.h"
#include "gpu_server/control_socket.h"
#include "gpu_server/quarantine.h"
#include "gpu_server/quarantine_file.h"
#include "tests/support/temporary_folder.h"

namespace farcall::server {
namespace {

using farcall::server::Quarantine;
constexpr std::int64_t kStartMs = 5'000'000;

// A session that is looked at twice a second.
struct Watched {
  explicit Watched(const ContainmentRule& rule, std::int64_t window_s = 60)
      : watch(rule, window_s) {}
  std::optional<ContainmentHit> after(std::int64_t ms, Tally what, std::uint64_t more) {
    std::optional<ContainmentHit> hit;
    for (std::int64_t end_ms = now_ms + ms; now_ms < end_ms && !hit; now_ms += 500) {
      hit = watch.look(tallies, now_ms);
    }
    tallies.values[static_cast<std::size_t>(what)] += more;
    if (!hit) hit = watch.look(tallies, now_ms);
    return hit;
  }
  ContainmentWatch watch;
  Tallies tallies;
  std::int64_t now_ms = kStartMs;
};

TEST_CASE("what a session does is summed over a window, and what is older is forgotten") {
  ContainmentRule rule;
  rule.most = {100, 0, 0, 0, 0, 0};
  Watched slow(rule);
  for (int i = 0; i < 20; ++i) CHECK_FALSE(slow.after(10'000, Tally::kUnknownHandles, 15));
  Watched fast(rule);
  for (int i = 0; i < 6; ++i) CHECK_FALSE(fast.after(5'000, Tally::kUnknownHandles, 15));
  const auto hit = fast.after(5'000, Tally::kUnknownHandles, 11);
  REQUIRE(hit);
  CHECK(hit->feature == Feature::kUnknownHandles);
  CHECK(hit->to_text() == "101 unknown_handles in 60 s, more than 100");
  // Told once; whoever is released begins anew.
  CHECK_FALSE(fast.after(500, Tally::kUnknownHandles, 100));
  CHECK(fast.after(500, Tally::kUnknownHandles, 1));
}

TEST_CASE("what was done before the first look counts, and refusals count together") {
  ContainmentRule rule;
  rule.most = {0, 10, 0, 0, 0, 0};
  Watched session(rule);
  session.tallies.values[static_cast<std::size_t>(Tally::kUnknownHandles)] = 1'000'000;
  CHECK_FALSE(session.after(500, Tally::kRefusedFamily, 5));
  CHECK_FALSE(session.after(500, Tally::kRefusedMemory, 5));
  CHECK(session.after(500, Tally::kRefusedThread, 1));
  Watched hasty(rule);
  hasty.tallies.values[static_cast<std::size_t>(Tally::kRefusedHandle)] = 11;
  CHECK(hasty.watch.look(hasty.tallies, kStartMs));
}

TEST_CASE("a worker that tells the largest number there is wraps nothing") {
  ContainmentRule rule;
  rule.most = {0, 10, 1'000, 0, 0, 0};
  Watched session(rule);
  CHECK_FALSE(session.after(500, Tally::kRefusedFamily, 5));
  const auto hit = session.after(500, Tally::kBytesOut, UINT64_MAX);
  REQUIRE(hit);
  CHECK(hit->value == UINT64_MAX);
  session.tallies.values[static_cast<std::size_t>(Tally::kRefusedMemory)] =
      UINT64_MAX;  // 5 + it: 4
  CHECK_FALSE(session.watch.look(session.tallies, session.now_ms));
}

TEST_CASE("thresholds go by zone and role, the first rule that fits, else the defaults") {
  auto rules = parse_containment(R"(
window_s = 10
detail_s = 3
[[rule]]
zone = "lab"
role = "guest"
unknown_handles = 5
bytes_out = "2GiB"
[[rule]]
zone = "lab"
refused_calls = 7
action = "tell"
)",
                                 "some.toml");
  REQUIRE_MESSAGE(rules.ok(), rules.status().text());
  CHECK(rules->window_s == 10);
  CHECK(rules->detail_s == 3);
  const ContainmentRule& guest = rules->rule_for("lab", "guest");
  CHECK(guest.most == FeatureValues{5, 10'000, std::uint64_t{2} << 30, 0, 0, 0});
  CHECK(guest.action == ContainmentAction::kFreeze);
  const ContainmentRule& other = rules->rule_for("lab", "staff");
  CHECK(other.most[1] == 7);
  CHECK(other.action == ContainmentAction::kTell);
  CHECK(rules->rule_for("", "guest") == ContainmentRule{});
  CHECK(parse_containment("", "empty")->rule_for("a", "b") == ContainmentRule{});
}

TEST_CASE("a file with a mistake is refused, with its line") {
  const std::pair<const char*, const char*> wrong[] = {
      {"window = 3", "line 1: there is no 'window'"},
      {"window_s = 0", "1 to 86400"},
      {"detail_s = 90000", "detail_s is a number of seconds"},
      {"\n[[rule]]\nunknown_handels = 5", "line 3: a rule has no 'unknown_handels'"},
      {"[[rule]]\nbytes_out = -1", "line 2: a threshold"},
      {"[[rule]]\nbytes_out = \"much\"", "line 2: a threshold"},
      {"[[rule]]\naction = \"shoot\"", "freeze or tell"},
      {"[[rule]]\nzone = \"\"", "line 2"},
      {"rule = 3", "[[rule]]"},
      {"rule = [1]", "[[rule]]"},
      {"[[rule", "x.toml line 1"},
  };
  for (const auto& [text, what] : wrong) {
    const Status said = parse_containment(text, "x.toml").status();
    CHECK_MESSAGE(said.text().find(what) != std::string::npos, said.text());
  }
  CHECK_FALSE(load_containment("/nowhere/at/all").ok());
}

security::PeerIdentity person(const std::string& user) {
  security::PeerIdentity who;
  who.tenant = "acme";
  who.user = user;
  who.serial = user + "1";
  return who;
}

QuarantineCase case_of(const std::string& session, const security::PeerIdentity& who,
                       const std::string& lease) {
  QuarantineCase facts;
  facts.session = session;
  facts.who = who;
  facts.lease = lease;
  return facts;
}

TEST_CASE("cases that stand outlive their server, in a file that is checked as it is read") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/quarantine.json";
  QuarantineCase facts = case_of("aa", person("ann\xff"), "lease 1");
  facts.hit = {.feature = Feature::kBytesOut, .value = 9, .most = 5, .window_s = 60};
  facts.evidence.values[static_cast<std::size_t>(Tally::kRefusedMemory)] = 3;
  facts.evidence.values[static_cast<std::size_t>(Tally::kBytesOut)] = 1ull << 60;
  {
    Quarantine all;
    REQUIRE(all.keep_in(path).ok());
    { Quarantine::Ward ended(all, facts); }
    Quarantine::Ward frozen(all, case_of("bb", person("bob"), ""));
    { Quarantine::Ward over(all, case_of("cc", person("cid"), "")); }
    CHECK(all.order("cc", Quarantine::Order::kRelease).ok());
  }
  Quarantine next;
  REQUIRE(next.keep_in(path).ok());
  const auto cases = next.cases();
  REQUIRE(cases.size() == 2);
  CHECK(cases[0].state == CaseState::kEnded);
  CHECK(cases[0].hit.to_text() == facts.hit.to_text());
  CHECK(features_of(cases[0].evidence) == features_of(facts.evidence));
  CHECK_FALSE(next.admits(person("dan"), "lease 1").ok());
  CHECK_FALSE(next.admits(person("bob"), "").ok());
  CHECK(next.admits(person("cid"), "").ok());
  CHECK(next.order("bb", Quarantine::Order::kRelease).ok());
  CHECK(load_cases(path)->size() == 1);
  // What is damaged is not taken for nobody.
  const std::string text = cases_text(cases);
  for (std::size_t cut : {std::size_t{0}, std::size_t{1}, text.size() / 2}) {
    CHECK_FALSE(cases_in(text.substr(0, cut)).ok());
  }
  for (const char* wrong : {"{}", "{\"version\":2,\"cases\":[]}", "{\"version\":1,\"cases\":[3]}",
                            "{\"version\":1,\"cases\":[{}]}"}) {
    CHECK(cases_in(wrong).status().code() == Code::kDenied);
    std::ofstream(path) << wrong;
    CHECK(Quarantine().keep_in(path).text().find("move it away") != std::string::npos);
  }
}

TEST_CASE("while a case stands its client and its lease are let in no more, nobody else is hit") {
  Quarantine all;
  const QuarantineCase facts = case_of("aa", person("ann"), "lease 1");
  security::PeerIdentity renewed = person("ann");
  renewed.serial = "another";
  {
    Quarantine::Ward ward(all, facts);
    CHECK(ward.id() == "aa");
    CHECK(all.admits(renewed, "").code() == Code::kDenied);
    CHECK(all.admits(person("bob"), "lease 1").code() == Code::kDenied);
    CHECK(all.admits(person("bob"), "lease 2").ok());
    CHECK(all.admits(person("bob"), "").ok());
    CHECK(ward.take_order() == Quarantine::Order::kNone);
    CHECK(all.order("bb", Quarantine::Order::kEnd).code() == Code::kNotFound);
    CHECK(all.order("aa", Quarantine::Order::kRelease).ok());
    CHECK(all.order("aa", Quarantine::Order::kEnd).code() == Code::kBusy);
    CHECK(ward.take_order() == Quarantine::Order::kRelease);
    CHECK(all.admits(renewed, "lease 1").ok());
  }
  CHECK(all.cases()[0].state == CaseState::kReleased);
  { Quarantine::Ward again(all, facts); }  // its client went away
  CHECK(all.cases()[1].id == "aa-2");
  CHECK(all.cases()[1].state == CaseState::kEnded);
  CHECK(all.admits(renewed, "").code() == Code::kDenied);
  CHECK(all.order("aa-2", Quarantine::Order::kEnd).code() == Code::kBusy);
  CHECK(all.order("aa-2", Quarantine::Order::kRelease).ok());
  CHECK(all.admits(renewed, "").ok());
  CHECK(all.cases()[1].state == CaseState::kClosed);
}

TEST_CASE("a full book forgets what is over, never what stands") {
  Quarantine all;
  for (std::size_t i = 0; i < limits::kQuarantineCasesMax + 10; ++i) {
    const std::string name = std::to_string(i);
    Quarantine::Ward ward(all, case_of(name, person(name), ""));
    if (i % 2 == 0) continue;
    CHECK(all.order(name, Quarantine::Order::kRelease).ok());
    CHECK(ward.take_order() == Quarantine::Order::kRelease);
  }
  CHECK(all.cases().size() == limits::kQuarantineCasesMax);
  CHECK_FALSE(all.admits(person("0"), "").ok());
}

TEST_CASE("a control socket answers its own user, takes a dead server's place and no live one's") {
  const testing::TemporaryFolder own;
  const std::string& folder = own.path();
  const std::string path = folder + "/below/server.sock";
  const auto echo = [](const std::string& request, uid_t uid) {
    return request + " " + std::to_string(uid);
  };
  CHECK(ask_server(path, "list").status().code() == Code::kNotFound);
  {
    auto control = ControlSocket::open(path, echo);
    REQUIRE_MESSAGE(control.ok(), control.status().to_string());
    struct stat facts {};
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 07777) == 0600);
    CHECK(ask_server(path, "list").value() == "list " + std::to_string(::geteuid()));
    CHECK(ControlSocket::open(path, echo).status().code() == Code::kBusy);
    CHECK_FALSE(ask_server(path, std::string(10'000, 'x')).ok());
    CHECK(ask_server(path, "again").ok());
    // As kill -9 leaves it.
    std::filesystem::rename(path, folder + "/kept");
  }
  std::filesystem::rename(folder + "/kept", path);
  CHECK(ask_server(path, "list").status().code() == Code::kNotFound);
  CHECK(ControlSocket::open(path, echo).ok());
  CHECK_FALSE(ControlSocket::open(folder + std::string(200, 'x'), echo).ok());
}

}  // namespace
}  // namespace farcall::server
