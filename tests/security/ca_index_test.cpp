// What an authority writes down, and what can be told from it: issuing, renewing, revoking.
#include "security/ca_index.h"

#include <doctest/doctest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "security/ca_folder.h"
#include "security/ca_index_archive.h"
#include "security/file.h"
#include "security/tls.h"
#include "tests/security/test_pool.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::TestPool;

namespace {

constexpr const char* kFirst = "farcall-ca-index 1\n";
constexpr const char* kGood =
    "2026-11-22T03:10:00Z issued 4a01 aabb 2026-11-29T03:09:00Z spiffe://lab/server/gpu1 -\n";

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void put(const std::string& path, const std::string& text) {
  REQUIRE(replace_file(path, std::as_bytes(std::span(text)), 0600).ok());
}

PeerIdentity who(const std::string& certificate_path) {
  Result<CertificateFacts> facts = describe_certificate(certificate_path);
  REQUIRE_MESSAGE(facts.ok(), facts.status().to_string());
  return facts->who;
}

IndexLine line(std::int64_t at, IndexEvent event, const std::string& serial, std::int64_t until,
               const std::string& note = "") {
  IndexLine made{.at = at, .event = event, .who = {}, .note = note};
  made.who.pool = "lab";
  made.who.tenant = "acme";
  made.who.user = "ann";
  made.who.serial = serial;
  made.who.not_after = until;
  return made;
}

bool says(const Status& status, const std::string& words) {
  return status.text().find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("a line of the index is written and read back, and nothing like it is") {
  auto lines = parse_index(std::string(kFirst) + kGood);
  REQUIRE_MESSAGE(lines.ok(), lines.status().to_string());
  REQUIRE(lines->size() == 1);
  CHECK(index_line(lines->front()) == kGood);
  CHECK(lines->front().who.host == "gpu1");
  const std::string good = kGood;
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const std::string& bad :
       {changed(" issued", "  issued"), changed("issued", "forgot"), changed("4a01", "4g01"),
        changed("4a01", std::string(42, 'a')), changed("11-22T", "02-30T"), changed("Z", "+"),
        changed("server", "sender"), changed(" -\n", "\n"), changed(" -\n", " - -\n"),
        changed(" -\n", " a\tb\n"), std::string("\n")}) {
    CAPTURE(bad);
    CHECK(says(parse_index(kFirst + good + bad).status(), "line 3"));
  }
  CHECK(says(parse_index(good).status(), "line 1"));
  CHECK(parse_index("")->empty());
}

TEST_CASE("what became of a certificate is told by its lines") {
  std::vector<IndexLine> lines = {line(100, IndexEvent::kIssued, "01", 200),
                                  line(100, IndexEvent::kIssued, "02", 200),
                                  line(140, IndexEvent::kRenewed, "03", 240, "01"),
                                  line(145, IndexEvent::kRevoked, "02", 200, "superseded"),
                                  line(146, IndexEvent::kRevoked, "09", 300)};
  std::vector<Issued> all = issued_of(lines);
  REQUIRE(all.size() == 4);
  CHECK(all[0].renewed_by == "03");
  CHECK(all[2].renewal);
  CHECK(due_at(all[2]) == 190);
  CHECK(standing_of(all[0], 199) == Standing::kRenewed);
  CHECK(standing_of(all[0], 200) == Standing::kExpired);
  CHECK(standing_of(all[1], 250) == Standing::kRevoked);
  CHECK(all[1].reason == "superseded");
  CHECK(standing_of(all[2], 189) == Standing::kGood);
  CHECK(standing_of(all[2], 190) == Standing::kDue);
  CHECK(standing_of(all[3], 0) == Standing::kRevoked);
  CHECK(due_at(all[3]) == 0);
}

TEST_CASE("a line that a crash cut short makes room, one that was changed is not built upon") {
  TestPool pool;
  const std::string path = pool.path("index");
  CHECK(read_index(path)->empty());
  const IndexLine first = line(100, IndexEvent::kIssued, "01", 200);
  REQUIRE(append_to_index(path, first).ok());
  CHECK(contents(path) == kFirst + index_line(first));
  put(path, contents(path) + "2026-11-22T03:");
  CHECK(read_index(path)->size() == 1);
  REQUIRE(append_to_index(path, line(101, IndexEvent::kIssued, "02", 200)).ok());
  CHECK(read_index(path)->size() == 2);
  put(path, contents(path) + "junk\n");
  CHECK(says(read_index(path).status(), "line 4"));
  CHECK(append_to_index(path, line(1, IndexEvent::kIssued, "not hex", 200)).code() ==
        Code::kDenied);
}

TEST_CASE("a renewed certificate says the same for another while, with the same key or another") {
  TestPool pool;
  const std::string folder = pool.path("two"), certificate = folder + "/gpu1.crt";
  REQUIRE(CaFolder::create(folder, {.pool = "lab"}).ok());
  auto ca = CaFolder::open(folder);
  REQUIRE(ca.ok());
  auto options = TestPool::server_options();
  options.zone = "lab";
  options.role = "inference";
  options.days = 1;
  auto issued = ca->issue(options);
  REQUIRE_MESSAGE(issued.ok(), issued.status().to_string());
  REQUIRE(save(issued.value(), certificate, folder + "/gpu1.key").ok());
  const PeerIdentity before = who(certificate);
  CHECK(identity_uri(before) == "spiffe://lab/server/gpu1/zone/lab/role/inference");
  auto renewed = ca->renew(certificate, 14, false);
  REQUIRE_MESSAGE(renewed.ok(), renewed.status().to_string());
  CHECK(renewed->key_pem.size() == 0);
  put(certificate, renewed->certificate_pem);
  const PeerIdentity after = who(certificate);
  CHECK(identity_uri(after) == identity_uri(before));
  CHECK(after.serial != before.serial);
  CHECK(after.not_after > before.not_after + 12 * 86'400);
  // The two files still fit, names and all.
  const IdentityFiles files{certificate, folder + "/gpu1.key", folder + "/ca.crt"};
  CHECK(TlsContext::load(files, TlsContext::Side::kServer).ok());
  auto other_key = ca->renew(certificate, 7, true);
  REQUIRE(other_key.ok());
  CHECK(other_key->key_pem.size() > 0);
  auto all = ca->issued();
  REQUIRE(all.ok());
  REQUIRE(all->size() == 4);  // the issuing authority's, and three of the server's
  CHECK(all.value()[1].renewed_by == after.serial);
  // Not what was revoked, and not what somebody else issued.
  REQUIRE(ca->revoke(std::span(&after, 1), "key-compromise").ok());
  CHECK(says(ca->renew(certificate, 7, false).status(), "was revoked on"));
  CHECK(says(ca->renew(pool.client().certificate_path, 7, false).status(), "not issued here"));
  CHECK(says(ca->renew(folder + "/issuing.crt", 7, false).status(), "made anew"));
  CHECK(ca->renew(certificate, 31, false).status().code() != Code::kOk);
}

TEST_CASE("another issuing authority takes over, and what its predecessor issued goes on") {
  TestPool pool;
  const std::string folder = pool.path("two");
  REQUIRE(CaFolder::create(folder, {.pool = "lab"}).ok());
  auto ca = CaFolder::open(folder);
  REQUIRE(ca.ok());
  const auto issue = [&](const std::string& name) {
    auto options = TestPool::client_options();
    options.user = name;
    auto issued = ca->issue(options);
    REQUIRE_MESSAGE(issued.ok(), issued.status().to_string());
    REQUIRE(save(issued.value(), pool.path(name + ".crt"), pool.path(name + ".key")).ok());
    return who(pool.path(name + ".crt"));
  };
  const PeerIdentity ann = issue("ann"), bob = issue("bob");
  REQUIRE(ca->revoke({}, "").ok());
  const auto list = DenyList::open(ca->deny_list_path(), ca->root_path());
  REQUIRE(list.ok());
  REQUIRE_MESSAGE(ca->make_issuing().ok(), ca->make_issuing().to_string());
  const PeerIdentity cleo = issue("cleo");
  CHECK(cleo.issuer != ann.issuer);
  // Who trusts the root trusts both, and what the former issued is renewed by the new.
  for (const char* name : {"ann", "cleo"}) {
    const IdentityFiles files{pool.path(std::string(name) + ".crt"),
                              pool.path(std::string(name) + ".key"), folder + "/ca.crt"};
    CHECK(TlsContext::load(files, TlsContext::Side::kClient).ok());
  }
  auto renewed = ca->renew(pool.path("ann.crt"), 7, false);
  REQUIRE_MESSAGE(renewed.ok(), renewed.status().to_string());
  put(pool.path("ann.crt"), renewed->certificate_pem);
  CHECK(who(pool.path("ann.crt")).issuer == cleo.issuer);
  // Both are denied where they are revoked; a server that has the former list takes the new one.
  for (const PeerIdentity& gone : {bob, cleo}) {
    REQUIRE(ca->revoke(std::span(&gone, 1), "superseded").ok());
    REQUIRE_MESSAGE(list.value()->reload().ok(), list.value()->reload().to_string());
    CHECK(list.value()->find(gone));
  }
  CHECK_FALSE(list.value()->find(who(pool.path("ann.crt"))));
  CHECK(ca->differences()->empty());
  // Without the root's key there is none, and nothing has changed.
  std::filesystem::rename(folder + "/ca.key", folder + "/safe");
  CHECK(says(ca->make_issuing(), "bring"));
  CHECK(issue("dan").issuer == cleo.issuer);
}

TEST_CASE(
    "what an authority does stands in its audit log, and what cannot be recorded is not done") {
  TestPool pool;
  const std::string folder = pool.path("two");
  REQUIRE(CaFolder::create(folder, {.pool = "lab"}).ok());
  auto ca = CaFolder::open(folder);
  REQUIRE(ca.ok());
  auto acted = ca->acting_for({.role = "user", .principal = "spiffe://lab/tenant/a/user/b"});
  auto issued = acted.issue(TestPool::client_options());
  REQUIRE(issued.ok());
  REQUIRE(save(issued.value(), pool.path("two.crt"), pool.path("two.key")).ok());
  const PeerIdentity ann = who(pool.path("two.crt"));
  REQUIRE(ca->renew(pool.path("two.crt"), 7, false).ok());
  REQUIRE(ca->revoke(std::span(&ann, 1), "superseded").ok());
  const std::string log = contents(folder + "/ca-audit/audit-000001.log");
  for (const char* kind : {"certificate.issue", "certificate.renew", "certificate.revoke"}) {
    CAPTURE(kind);
    const std::size_t at = log.find(kind);
    REQUIRE(at != std::string::npos);
  }
  CHECK(log.find("spiffe://lab/tenant/a/user/b") != std::string::npos);
  CHECK(log.find(ann.serial) != std::string::npos);
  // Somebody has taken a line out of it.
  std::string less = log;
  less.erase(0, less.find('\n') + 1);
  put(folder + "/ca-audit/audit-000001.log", less);
  CHECK(says(ca->issue(TestPool::client_options()).status(), "not as it was written"));
}

TEST_CASE("a folder without an issuing authority and without an index goes on as before") {
  TestPool pool;
  auto ca = CaFolder::open(pool.path(""));
  REQUIRE(ca.ok());
  const PeerIdentity ann = who(pool.client().certificate_path);
  REQUIRE_MESSAGE(ca->revoke(std::span(&ann, 1), "").ok(), "");
  CHECK(ca->issue(TestPool::server_options()).ok());
  CHECK(ca->renew(pool.server().certificate_path, 7, false).ok());
  CHECK(ca->issued()->size() == 3);
  CHECK(ca->differences()->empty());
  // A list that says less than the index is told, and made good by the next.
  put(ca->deny_list_path(), add_to_deny_list(pool.ca(), "", {}).value());
  REQUIRE(ca->differences()->size() == 1);
  CHECK(ca->differences()->front().find("not on the deny list") != std::string::npos);
  REQUIRE(ca->revoke({}, "").ok());
  CHECK(ca->differences()->empty());
}

TEST_CASE("lines of certificates that are over move out of the index, others stay") {
  const TestPool pool;
  const std::string index = pool.path("index"), over = pool.path("index-over");
  constexpr std::int64_t kDay = 86'400, kNow = 100 * kDay;
  const auto add = [&](IndexEvent event, const std::string& serial, std::int64_t at,
                       std::int64_t until, const std::string& note = "") {
    REQUIRE(append_to_index(index, line(at, event, serial, until, note)).ok());
  };
  add(IndexEvent::kIssued, "aa", kNow - 2 * kDay, kNow - 2 * kDay + 900);
  add(IndexEvent::kRenewed, "ab", kNow - kDay, kNow - kDay + 900, "aa");  // for less than a day
  add(IndexEvent::kIssued, "ac", kNow - 10 * kDay, kNow - 3 * kDay);      // lived a week
  add(IndexEvent::kIssued, "ad", kNow - 3 * kDay, kNow - 2 * kDay - 900);
  add(IndexEvent::kRevoked, "ad", kNow - 3 * kDay, kNow - 2 * kDay - 900, "superseded");
  const auto serials = [](const std::string& path) {
    std::string all;
    const auto lines = read_index(path);
    for (const IndexLine& one : lines.value()) all += one.who.serial + " ";
    return all;
  };
  REQUIRE(archive_index(index, over, kNow).ok());
  CHECK(serials(index) == "ab ac ad ad ");
  CHECK(serials(over) == "aa ");
  REQUIRE(archive_index(index, over, kNow + 5 * kDay).ok());
  CHECK(serials(index) == "ad ad ");
  CHECK(serials(over) == "aa ab ac ");
}
