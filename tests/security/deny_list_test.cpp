// Deny lists: what the authority writes, and what is made of it by who reads it.
#include "security/deny_list.h"

#include <doctest/doctest.h>

#include <ctime>
#include <fstream>
#include <string>

#include "security/ca_folder.h"
#include "security/ca_revoke.h"
#include "security/file.h"
#include "tests/security/test_pool.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::TestPool;

namespace {

PeerIdentity who(const std::string& certificate_path) {
  Result<CertificateFacts> facts = describe_certificate(certificate_path);
  REQUIRE_MESSAGE(facts.ok(), facts.status().to_string());
  return facts->who;
}

std::string list_of(const IssuedIdentity& ca, std::vector<Revocation> revoked,
                    const std::string& before = "", int days = kDenyListDays) {
  Result<std::string> list = add_to_deny_list(ca, before, revoked, days);
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  return list.value();
}

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

Result<DeniedByIssuer> read(const std::string& list, const std::string& authorities,
                            std::int64_t at = std::time(nullptr)) {
  return parse_deny_list(bytes(list), bytes(authorities), at);
}

void put(const TestPool& pool, const std::string& list) {
  REQUIRE(replace_file(pool.path("deny.crl"), bytes(list), 0644).ok());
}

bool says(const Status& status, const std::string& words) {
  return status.text().find(words) != std::string::npos;
}

constexpr std::int64_t kDay = 86'400;

}  // namespace

TEST_CASE("a list denies the certificates that were revoked, with date and reason, and no others") {
  TestPool pool;
  const PeerIdentity ann = who(pool.client().certificate_path);
  const std::int64_t now = std::time(nullptr);
  auto lists =
      read(list_of(pool.ca(), {{ann.serial, now, "key-compromise"}}), pool.ca().certificate_pem);
  REQUIRE_MESSAGE(lists.ok(), lists.status().to_string());
  const auto denial = find_denial(lists.value(), ann);
  REQUIRE(denial);
  CHECK(denial->since == now);
  CHECK(denial->reason == "key compromise");
  CHECK(explain_denial(*denial) ==
        "was revoked on " + date_text(now) + " (key compromise): ask for a new one");
  CHECK_FALSE(find_denial(lists.value(), who(pool.server().certificate_path)));
  // The same number from another authority is another certificate; from an unknown one it is not.
  PeerIdentity other = ann;
  other.issuer = std::string(40, '0');
  CHECK_FALSE(find_denial(lists.value(), other));
  other.issuer.clear();
  CHECK(find_denial(lists.value(), other));
}

TEST_CASE("a list grows, forgets what has expired, and its number never goes back") {
  TestPool pool;
  const std::int64_t now = std::time(nullptr);
  const std::string first = list_of(pool.ca(), {{"4a", now, ""}});
  const std::string second = list_of(pool.ca(), {{"4b", now, "superseded"}}, first);
  auto lists = read(second, pool.ca().certificate_pem);
  REQUIRE(lists.ok());
  REQUIRE(lists->size() == 1);
  const DeniedByOne& one = lists->begin()->second;
  CHECK(one.serials.size() == 2);
  CHECK(one.number > read(first, pool.ca().certificate_pem)->begin()->second.number);
  // An issuing authority's leaves are dead by now; what a root revoked may live for years.
  Result<IssuedIdentity> issuing = create_issuing(pool.ca());
  REQUIRE(issuing.ok());
  const IssuedIdentity& below = issuing.value();
  for (const IssuedIdentity* ca : {&pool.ca(), &below}) {
    const std::string old = list_of(*ca, {{"4c", now - 40 * kDay, ""}});
    const std::string fresh = list_of(*ca, {}, old);
    auto kept = read(fresh, pool.ca().certificate_pem);
    REQUIRE_MESSAGE(kept.ok(), kept.status().to_string());
    CHECK(kept->begin()->second.serials.size() == (ca == &pool.ca() ? 1 : 0));
  }
}

TEST_CASE("a list that nobody of the pool stands behind is refused, and so is one past its date") {
  TestPool pool, other;
  const std::string& trusted = pool.ca().certificate_pem;
  const std::int64_t now = std::time(nullptr);
  const std::string good = list_of(pool.ca(), {{"4a", now, ""}}, "", 7);
  REQUIRE(read(good, trusted).ok());
  CHECK(says(read(good, other.ca().certificate_pem).status(), "no authority of this pool"));
  CHECK(says(read("", trusted).status(), "there is no revocation list"));
  CHECK(says(read("junk\n", trusted).status(), "there is no revocation list"));
  CHECK(says(read(good.substr(0, good.size() - 60), trusted).status(), "damaged"));
  CHECK(says(read(good + good, trusted).status(), "two lists of one authority"));
  CHECK(says(read(good, trusted, now + 8 * kDay).status(), "was good until"));
  CHECK(says(read(good, trusted, now - kDay).status(), "yet to come"));
  std::string many;
  for (int i = 0; i < 9; ++i) many += good;
  CHECK(says(read(many, trusted).status(), "too many"));
  // Every changed byte is noticed, wherever it is.
  for (std::size_t at = good.find('\n') + 1; at + 40 < good.size(); at += 7) {
    std::string changed = good;
    if (changed[at] == '\n' || changed[at] == '-') continue;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    CAPTURE(at);
    CHECK_FALSE(read(changed, trusted).ok());
  }
  // A leaf's key signs nothing that counts, whatever it writes.
  Result<IssuedIdentity> leaf = load(pool.client().certificate_path, pool.client().key_path);
  REQUIRE(leaf.ok());
  CHECK(add_to_deny_list(leaf.value(), "", {}).status().code() == Code::kDenied);
}

TEST_CASE(
    "what cannot be revoked is refused by name, and a damaged former list is not built upon") {
  TestPool pool;
  const auto revoke = [&](const Revocation& one, const std::string& before = "", int days = 30) {
    return add_to_deny_list(pool.ca(), before, std::span(&one, 1), days).status();
  };
  const std::int64_t now = std::time(nullptr);
  CHECK(says(revoke({"", now, ""}), "no serial number"));
  CHECK(says(revoke({"4g", now, ""}), "no serial number"));
  CHECK(says(revoke({std::string(42, 'a'), now, ""}), "no serial number"));
  CHECK(says(revoke({"4a", now, "a whim"}), "no reason"));
  CHECK(says(revoke({"4a", now, ""}, "", 0), "1 to 3650 days"));
  std::string former = list_of(pool.ca(), {{"4a", now, ""}});
  CHECK(revoke({"4b", now, ""}, former).ok());
  former[former.size() - 60] ^= 1;  // in its signature
  CHECK(revoke({"4b", now, ""}, former).code() == Code::kDenied);
}

TEST_CASE("a file that is worse than the one in force is refused, and that stays in force") {
  TestPool pool;
  const PeerIdentity ann = who(pool.client().certificate_path);
  const std::int64_t now = std::time(nullptr);
  const std::string none = list_of(pool.ca(), {});
  const std::string denied = list_of(pool.ca(), {{ann.serial, now, ""}}, none);
  put(pool, denied);
  auto list = DenyList::open(pool.path("deny.crl"), pool.path("ca.crt"));
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  CHECK(list.value()->facts().certificates == 1);
  CHECK(list.value()->reload().ok());
  put(pool, none);
  CHECK_MESSAGE(says(list.value()->reload(), "is older than the one in force"),
                list.value()->reload().text());
  CHECK(list.value()->find(ann));
  put(pool, denied.substr(0, denied.size() / 2));
  CHECK(says(list.value()->reload(), "damaged"));
  REQUIRE(std::filesystem::remove(pool.path("deny.crl")));
  CHECK(list.value()->reload().code() == Code::kNotFound);
  CHECK(list.value()->find(ann));
  CHECK(DenyList::open(pool.path("deny.crl"), pool.path("ca.crt")).status().code() ==
        Code::kNotFound);
  put(pool, list_of(pool.ca(), {{"4b", now, ""}}, denied));
  CHECK(list.value()->reload().ok());
  CHECK(list.value()->facts().certificates == 2);
  // A list that leaves an authority out denies less than before.
  Result<IssuedIdentity> issuing = create_issuing(pool.ca());
  REQUIRE(issuing.ok());
  put(pool, list_of(issuing.value(), {}));
  CHECK(says(list.value()->reload(), "leaves out"));
}

TEST_CASE("what a revoked authority issued is denied by the first list there is, and agrees") {
  TestPool pool;
  const std::string folder = pool.path("first");
  REQUIRE(CaFolder::create(folder, {.pool = "lab"}).ok());
  auto ca = CaFolder::open(folder);
  REQUIRE(ca.ok());
  auto issued = ca->issue(TestPool::client_options());
  REQUIRE_MESSAGE(issued.ok(), issued.status().to_string());
  REQUIRE(save(issued.value(), folder + "/ann.crt", folder + "/ann.key").ok());
  const PeerIdentity authority = who(folder + "/issuing.crt");
  const Status done = ca->revoke(std::span(&authority, 1), "authority-compromise");
  REQUIRE_MESSAGE(done.ok(), done.to_string());
  auto list = DenyList::open(ca->deny_list_path(), ca->root_path());
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  CHECK(list.value()->find(who(folder + "/ann.crt")));
  CHECK(ca->differences()->empty());
  // Nor does its successor's first list contradict the index.
  REQUIRE(ca->make_issuing().ok());
  CHECK(ca->differences()->empty());
  REQUIRE(list.value()->reload().ok());
  CHECK(list.value()->find(who(folder + "/ann.crt")));
}

TEST_CASE("a folder revokes by the authority that issued, and the root revokes that one") {
  TestPool pool;
  const std::string folder = pool.path("two");
  REQUIRE(CaFolder::create(folder, {.pool = "lab"}).ok());
  CHECK(CaFolder::create(folder, {.pool = "lab"}).code() == Code::kDenied);
  auto ca = CaFolder::open(folder);
  REQUIRE(ca.ok());
  const auto revoke = [&](const PeerIdentity& one, const std::string& reason) {
    return ca->revoke(std::span(&one, 1), reason);
  };
  auto issued = ca->issue(TestPool::client_options());
  REQUIRE_MESSAGE(issued.ok(), issued.status().to_string());
  REQUIRE(save(issued.value(), folder + "/ann.crt", folder + "/ann.key").ok());
  const PeerIdentity ann = who(folder + "/ann.crt");
  REQUIRE(ca->revoke({}, "").ok());
  auto list = DenyList::open(ca->deny_list_path(), ca->root_path());
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  CHECK(list.value()->facts().certificates == 0);
  // The issuing authority itself, by the root: then all that it issued is denied.
  const PeerIdentity authority = who(folder + "/issuing.crt");
  Status done = revoke(authority, "authority-compromise");
  REQUIRE_MESSAGE(done.ok(), done.to_string());
  REQUIRE_MESSAGE(list.value()->reload().ok(), list.value()->reload().text());
  CHECK(list.value()->find(authority));
  REQUIRE(list.value()->find(ann));
  CHECK(list.value()->find(ann)->reason == "compromise of the authority");
  // With the root's key in its safe, leaves are revoked all the same.
  std::filesystem::rename(folder + "/ca.key", folder + "/taken-away");
  CHECK(revoke(ann, "").ok());
  REQUIRE(list.value()->reload().ok());
  CHECK(list.value()->facts().certificates == 2);
  CHECK(ca->differences()->empty());
  PeerIdentity other;
  other.serial = "4a";
  other.issuer = authority.issuer;
  CHECK(says(revoke(other, ""), "bring "));
  other.issuer = std::string(40, '1');
  CHECK(says(revoke(other, ""), "no authority in"));
  CHECK(says(revoke(ann, "a whim"), "no reason"));
  // A list that no server would take is not written, nor one built upon it.
  std::ofstream(ca->deny_list_path(), std::ios::trunc) << list_of(pool.ca(), {});
  CHECK_MESSAGE(says(revoke(ann, ""), "no authority of this pool"), revoke(ann, "").text());
  CHECK(says(CaFolder::open(pool.path("none")).status(), "farcall ca init"));
}
