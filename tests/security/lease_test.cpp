#include "security/lease_token.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>

#include "security/lease_file.h"
#include "security/lease_keys.h"
#include "tests/security/lease_issuer.h"
#include "tests/security/test_pool.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::LeaseIssuer;
using farcall::testing::TestPool;

namespace {

bool says(const Status& status, const char* words) {
  return status.text().find(words) != std::string::npos;
}

// Where and by whom the sample may be used.
struct Showing {
  PeerIdentity who;
  KeyHash key{};
  std::string pool = "lab", server = "gpu1", zone;
  std::int64_t now_s = LeaseIssuer::kStart;
  Showing() {
    who.tenant = "acme";
    who.user = "ann";
    key.fill(std::byte{0x5a});
  }
  Status check(const LeaseToken& lease) const {
    return check_use(
        lease,
        {.who = who, .key = key, .pool = pool, .server = server, .zone = zone, .now_s = now_s});
  }
};

}  // namespace

TEST_CASE("every field of a lease survives its signature, and one token has one encoding") {
  LeaseIssuer issuer;
  LeaseToken lease = LeaseIssuer::sample();
  LeaseBytes token = issuer.sign(lease);
  Result<LeaseToken> proven = verify_lease(token, issuer.keys());
  REQUIRE_MESSAGE(proven.ok(), proven.status().to_string());
  lease.key_id = issuer.key().id();
  CHECK(proven.value() == lease);
  CHECK(issuer.sign(proven.value()) == token);
  CHECK(token.size() < 400);

  lease.devices.assign(limits::kTokenDevicesMax, "");
  for (std::size_t i = 0; i < lease.devices.size(); ++i) {
    lease.devices[i] = "GPU-66617263-616c-6c2d-736f-6674677075" + std::to_string(10 + i);
  }
  for (std::string* word : {&lease.pool, &lease.tenant, &lease.user, &lease.role, &lease.project,
                            &lease.server, &lease.zone}) {
    word->assign(64, 'w');
  }
  lease.purpose.assign(limits::kLeasePurposeBytesMax, 'p');
  proven = verify_lease(issuer.sign(lease), issuer.keys());
  REQUIRE_MESSAGE(proven.ok(), proven.status().to_string());
  CHECK(proven.value() == lease);
}

TEST_CASE("a token with any byte changed, cut off or added is refused") {
  LeaseIssuer issuer;
  const LeaseBytes token = issuer.sign(LeaseIssuer::sample());
  for (std::size_t at = 0; at < token.size(); ++at) {
    for (std::byte change : {std::byte{1}, std::byte{0x80}, std::byte{0xff}}) {
      LeaseBytes edited = token;
      edited[at] ^= change;
      CHECK_FALSE(verify_lease(edited, issuer.keys()).ok());
    }
    CHECK_FALSE(verify_lease(std::span(token).first(at), issuer.keys()).ok());
    CHECK_FALSE(read_lease(std::span(token).first(at)).ok());
  }
  LeaseBytes longer = token;
  longer.push_back(std::byte{0});
  CHECK_FALSE(verify_lease(longer, issuer.keys()).ok());
  longer.resize(limits::kLeaseBytesMax + 1);
  CHECK(says(verify_lease(longer, issuer.keys()).status(), "too long"));
  // More memory, please.
  LeaseBytes edited = token;
  edited[80] ^= std::byte{1};
  const Status why = verify_lease(edited, issuer.keys()).status();
  CHECK(why.code() == Code::kDenied);
  CHECK(says(why, "changed after key"));
}

TEST_CASE("what no lease can have is neither signed nor read") {
  LeaseIssuer issuer;
  const std::pair<const char*, std::function<void(LeaseToken&)>> wrongs[] = {
      {"serial", [](LeaseToken& l) { l.serial = 0; }},
      {"pool", [](LeaseToken& l) { l.pool.clear(); }},
      {"tenant", [](LeaseToken& l) { l.tenant = "a/b"; }},
      {"user", [](LeaseToken& l) { l.user.assign(65, 'u'); }},
      {"role", [](LeaseToken& l) { l.role = "r s"; }},
      {"project", [](LeaseToken& l) { l.project = "\n"; }},
      {"server", [](LeaseToken& l) { l.server.clear(); }},
      {"zone", [](LeaseToken& l) { l.zone = "z,"; }},
      {"purpose", [](LeaseToken& l) { l.purpose = "two\nlines"; }},
      {"purpose", [](LeaseToken& l) { l.purpose.assign(129, 'p'); }},
      {"devices", [](LeaseToken& l) { l.devices = {"0,1"}; }},
      {"devices",
       [](LeaseToken& l) {
         l.devices = {"1", "1"};
       }},
      {"devices", [](LeaseToken& l) { l.devices = {""}; }},
      {"compute share", [](LeaseToken& l) { l.compute_percent = 0; }},
      {"compute share", [](LeaseToken& l) { l.compute_percent = 101; }},
      {"sessions", [](LeaseToken& l) { l.sessions = 0; }},
      {"families", [](LeaseToken& l) { l.families = 2; }},
      {"cipher floor", [](LeaseToken& l) { l.cipher_floor = CipherFloor{3}; }},
      {"data class", [](LeaseToken& l) { l.data_class = DataClass{0}; }},
      {"times", [](LeaseToken& l) { l.expires = l.not_before; }},
      {"times", [](LeaseToken& l) { l.not_before = -1; }},
      {"times", [](LeaseToken& l) { l.expires = l.not_before + limits::kLeaseSecondsMax + 1; }},
      {"times", [](LeaseToken& l) { l.expires = INT64_MAX; }},
  };
  for (const auto& wrong : wrongs) {
    const auto& field = wrong.first;
    LeaseToken lease = LeaseIssuer::sample();
    wrong.second(lease);
    const Status why = sign_lease(lease, issuer.key()).status();
    CHECK_MESSAGE(why.code() == Code::kUnsupported, field);
    CHECK_MESSAGE(says(why, field), why.text());
  }
  LeaseToken lease = LeaseIssuer::sample();
  lease.devices.assign(limits::kTokenDevicesMax + 1, "");
  for (std::size_t i = 0; i < lease.devices.size(); ++i) lease.devices[i] = std::to_string(i);
  CHECK_FALSE(sign_lease(lease, issuer.key()).ok());
}

TEST_CASE("a token of a key nobody knows names that key, and several keys may be known") {
  LeaseIssuer one, other;
  const LeaseBytes token = other.sign(LeaseIssuer::sample());
  const Status why = verify_lease(token, one.keys()).status();
  CHECK(why.code() == Code::kDenied);
  CHECK(says(why, to_string(other.key().id()).c_str()));
  CHECK(says(why, "--lease-keys"));
  // A folder of keys, as while one issuer takes over from another.
  std::filesystem::copy(other.path("lease.pub"), one.path("later.pub"));
  Result<LeaseKeys> both = LeaseKeys::load(one.folder());
  REQUIRE_MESSAGE(both.ok(), both.status().to_string());
  CHECK(both->size() == 2);
  CHECK(verify_lease(token, both.value()).ok());
  CHECK(verify_lease(one.sign(LeaseIssuer::sample()), both.value()).ok());
  // The same file of both.
  std::ofstream(one.path("both.pub")) << std::ifstream(one.path("lease.pub")).rdbuf()
                                      << std::ifstream(one.path("later.pub")).rdbuf();
  CHECK(LeaseKeys::load(one.path("both.pub"))->size() == 2);
}

TEST_CASE("keys that are none for leases are refused with what is wrong") {
  LeaseIssuer issuer;
  TestPool pool;
  CHECK(LeaseKeys::load(issuer.path("nowhere")).status().code() == Code::kNotFound);
  const Status secret = LeaseKeys::load(issuer.path("lease.key")).status();
  CHECK(secret.code() == Code::kDenied);
  CHECK(says(secret, "never the .key"));
  CHECK(says(LeaseKey::load(pool.client().key_path).status(), "no Ed25519"));
  CHECK(LeaseKey::load(issuer.path("lease.pub")).status().code() == Code::kDenied);
  std::filesystem::create_directory(issuer.path("empty"));
  CHECK(says(LeaseKeys::load(issuer.path("empty")).status(), "holds no *.pub"));
  struct stat facts {};
  REQUIRE(::stat(issuer.path("lease.key").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  REQUIRE(::chmod(issuer.path("lease.key").c_str(), 0640) == 0);
  CHECK(says(LeaseKey::load(issuer.path("lease.key")).status(), "chmod 600"));
  CHECK(make_lease_key(issuer.path("lease.key"), issuer.path("x.pub")).code() == Code::kDenied);
  CHECK(make_lease_key(issuer.path("x.key"), issuer.path("lease.pub")).code() == Code::kDenied);
  CHECK_FALSE(std::filesystem::exists(issuer.path("x.key")));
}

TEST_CASE("a lease holds for its pool, server, holder, key and time, and the refusal names which") {
  const LeaseToken lease = LeaseIssuer::sample();
  CHECK(Showing().check(lease).ok());
  const auto refused = [&lease](const std::function<void(Showing&)>& change, const char* words) {
    Showing use;
    change(use);
    const Status why = use.check(lease);
    CHECK_MESSAGE(why.code() == Code::kDenied, words);
    CHECK_MESSAGE(says(why, words), why.text());
  };
  refused([](Showing& u) { u.pool = "other"; }, "for pool lab, this is pool other");
  refused([](Showing& u) { u.server = "gpu2"; }, "for server gpu1, this is gpu2");
  refused([](Showing& u) { u.who.user = "bob"; }, "user ann's of tenant acme");
  refused([](Showing& u) { u.who.tenant = "evil"; }, "user ann's of tenant evil");
  refused([](Showing& u) { u.key[31] ^= std::byte{1}; }, "another certificate");
  refused([](Showing& u) { --u.now_s; }, "not valid before 2027-01-15 08:00:00 UTC");
  refused([](Showing& u) { u.now_s += 3600; }, "expired at 2027-01-15 09:00:00 UTC");
  Showing late;
  late.now_s += 3599;
  CHECK(late.check(lease).ok());
  LeaseToken zoned = lease;
  zoned.zone = "north";
  CHECK(says(Showing().check(zoned), "for zone north"));
  Showing there;
  there.zone = "north";
  CHECK(there.check(zoned).ok());
}

TEST_CASE("files of leases hold one or several, and nothing else counts as one") {
  LeaseIssuer issuer;
  const LeaseBytes first = issuer.sign(LeaseIssuer::sample());
  const LeaseBytes second = issuer.sign(LeaseIssuer::sample());
  REQUIRE(save_lease(first, issuer.path("a.lease")).ok());
  REQUIRE(save_lease(second, issuer.path("b.lease")).ok());
  CHECK(save_lease(second, issuer.path("b.lease")).code() == Code::kDenied);
  std::ofstream(issuer.path("both.lease"))
      << std::ifstream(issuer.path("a.lease")).rdbuf() << "a comment\n"
      << std::ifstream(issuer.path("b.lease")).rdbuf();
  Result<std::vector<LeaseBytes>> both = load_leases(issuer.path("both.lease"));
  REQUIRE_MESSAGE(both.ok(), both.status().to_string());
  CHECK(both.value() == std::vector<LeaseBytes>{first, second});
  CHECK(load_leases(issuer.path("lease.pub")).status().code() == Code::kDenied);
  CHECK(load_leases(issuer.path("nowhere")).status().code() == Code::kNotFound);
  std::ofstream many(issuer.path("many.lease"));
  for (std::size_t i = 0; i <= limits::kLeasesPerFileMax; ++i) {
    many << std::ifstream(issuer.path("a.lease")).rdbuf();
  }
  many.close();
  CHECK(load_leases(issuer.path("many.lease")).status().code() == Code::kOverQuota);
}

TEST_CASE("a list of revoked leases is believed when its issuer signed it, byte for byte") {
  LeaseIssuer issuer, other;
  const LeaseId gone = make_lease_id(), good = make_lease_id();
  issuer.revoke(3, {gone, make_lease_id(), gone});
  Result<RevokedLeases> list = load_revoked(issuer.path("revoked.leases"), issuer.keys());
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  CHECK(list->number == 3);
  CHECK(list->entries.size() == 2);
  CHECK(list->holds(gone));
  CHECK_FALSE(list->holds(good));
  CHECK(load_revoked(issuer.path("revoked.leases"), other.keys()).status().code() == Code::kDenied);
  CHECK(load_revoked(issuer.path("lease.pub"), issuer.keys()).status().code() == Code::kDenied);

  const std::vector<std::byte> bytes = sign_revoked(list.value(), issuer.key()).value();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::vector<std::byte> edited = bytes;
    edited[at] ^= std::byte{4};
    CHECK_FALSE(verify_revoked(edited, issuer.keys()).ok());
    CHECK_FALSE(verify_revoked(std::span(bytes).first(at), issuer.keys()).ok());
    CHECK_FALSE(read_revoked(std::span(bytes).first(at)).ok());
  }
  CHECK(list->forget_before(LeaseIssuer::kStart).ok());
  CHECK(list->entries.size() == 2);
  CHECK(list->forget_before(LeaseIssuer::kStart + 10 * 86'400).ok());
  CHECK(list->entries.empty());
  for (std::size_t i = 0; i <= limits::kRevokedLeasesMax; ++i) {
    list->add({make_lease_id(), LeaseIssuer::kStart});
  }
  CHECK(list->forget_before(0).code() == Code::kOverQuota);
  CHECK_FALSE(sign_revoked(list.value(), issuer.key()).ok());
}

TEST_CASE("a full list of revoked leases can be written and read again") {
  LeaseIssuer issuer;
  std::vector<LeaseId> ids(limits::kRevokedLeasesMax);
  for (LeaseId& id : ids) id = make_lease_id();
  issuer.revoke(1, ids);
  Result<RevokedLeases> list = load_revoked(issuer.path("revoked.leases"), issuer.keys());
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  CHECK(list->entries.size() == ids.size());
}

TEST_CASE("what was signed as a list proves no lease, and the other way round") {
  LeaseIssuer issuer;
  LeaseBytes token = issuer.sign(LeaseIssuer::sample());
  token.resize(token.size() - kSignatureBytes);
  REQUIRE(issuer.key().sign(kRevokedLabel, &token).ok());
  CHECK(verify_lease(token, issuer.keys()).status().code() == Code::kDenied);
  CHECK(read_lease(token).ok());
}

TEST_CASE("two certificates have two keys, and a key has one name however it is read") {
  TestPool pool;
  Result<KeyHash> client = key_hash_of(pool.client().certificate_path);
  Result<KeyHash> server = key_hash_of(pool.server().certificate_path);
  REQUIRE(client.ok());
  REQUIRE(server.ok());
  CHECK(client.value() != server.value());
  CHECK(key_hash_of(pool.client().certificate_path).value() == client.value());
  CHECK_FALSE(key_hash_of(pool.client().key_path).ok());
}

TEST_CASE("a lease's id is written and read as 32 hexadecimal digits") {
  const LeaseId id = make_lease_id();
  CHECK(parse_lease_id(to_string(id)).value() == id);
  CHECK(id != make_lease_id());
  for (const char* wrong :
       {"", "12", "zz345678901234567890123456789012", "ABCDEF78901234567890123456789012"}) {
    CHECK_FALSE(parse_lease_id(wrong).ok());
  }
}
