// Certificates over the network: who gets one of the authority's service, and who does not.
#include "security/authority_service.h"

#include <fstream>
#include <sstream>

#include "security/ca_parts.h"
#include "security/file.h"
#include "security/member_files.h"
#include "security/renewal_schedule.h"
#include "tests/security/authority_pool.h"
#include "transport/base/limits_authority.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::AuthorityPool;
using farcall::testing::Member;

namespace {

constexpr std::int64_t kDay = 86'400;

bool says(const Status& status, const std::string& words) {
  CAPTURE(status.text());
  return !status.ok() && status.text().find(words) != std::string::npos;
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Every other character, so that it means something else.
std::string changed(std::string text, std::size_t at) {
  text[at] = text[at] == 'A' ? 'B' : 'A';
  return text;
}

}  // namespace

TEST_CASE("a member renews its own certificate for a new key, and nothing else in it changes") {
  AuthorityPool pool;
  for (const Member& member : {pool.client("ann"), pool.server("gpu1")}) {
    const PeerIdentity before = AuthorityPool::who(member);
    const std::string old_key = contents(member.files.key_path);
    const Status done = pool.renew(member);
    REQUIRE_MESSAGE(done.ok(), done.to_string());
    const PeerIdentity after = AuthorityPool::who(member);
    CHECK(identity_uri(after) == identity_uri(before));
    CHECK(after.serial != before.serial);
    CHECK(contents(member.files.key_path) != old_key);
    CHECK(TlsContext::load(member.files, member.side).ok());
    // With the key kept, the lease that is bound to it is kept, too.
    const std::string new_key = contents(member.files.key_path);
    REQUIRE(pool.renew(member, true).ok());
    CHECK(contents(member.files.key_path) == new_key);
    CHECK(TlsContext::load(member.files, member.side).ok());
  }
  // A server serves with what it got: names and purpose are there.
  CHECK(TlsContext::load({pool.path("gpu1.crt"), pool.path("gpu1.key"), pool.path("ca/ca.crt")},
                         TlsContext::Side::kServer)
            .ok());
  const std::string log = contents(pool.path("ca/ca-audit/audit-000001.log"));
  CHECK(log.find("certificate.renew") != std::string::npos);
  CHECK(log.find("10.0.0.7:1") != std::string::npos);
}

TEST_CASE(
    "a renewed certificate lives no longer than the service allows, nor than it is asked for") {
  AuthorityPool pool(2 * kDay);
  const Member ann = pool.client("ann");
  auto ask = make_renewal(ann.files, false);
  REQUIRE(ask.ok());
  for (const auto& [asked, given] : {std::pair<std::uint32_t, std::int64_t>{0, 2 * kDay},
                                     {30 * kDay, 2 * kDay},
                                     {3600, 3600},
                                     {1, kLeafSecondsMin}}) {
    ask->request.life_seconds = asked;
    auto reply = pool.ask(ann, ask->request);
    REQUIRE_MESSAGE(reply.ok(), reply.status().to_string());
    REQUIRE_MESSAGE(reply->refusal.ok(), reply->refusal.to_string());
    auto who = who_in(reply->chain_pem);
    REQUIRE(who.ok());
    CHECK(who->not_after - std::time(nullptr) <= given);
    CHECK(who->not_after - std::time(nullptr) > given - 60);
  }
}

TEST_CASE("who was revoked, is another, shows nothing or is not in the index gets nothing") {
  AuthorityPool pool;
  const Member ann = pool.client("ann"), bob = pool.client("bob"), eve = pool.client("eve");
  const auto refusal = [&](const Member& member, const AuthorityRequest& request) {
    auto reply = pool.ask(member, request);
    return reply.ok() ? reply->refusal : reply.status();
  };
  auto hers = make_renewal(ann.files, false);
  auto his = make_renewal(bob.files, false);
  REQUIRE((hers.ok() && his.ok()));
  AuthorityRequest other = hers->request;
  CHECK(says(refusal(bob, other), "renewed for its own name"));
  other.name = his->request.name;
  CHECK(says(refusal(bob, other), "is not the one that this connection shows"));
  // A signing request that somebody else made, or that is none.
  other = his->request;
  other.key_request[other.key_request.size() - 1] ^= std::byte{1};
  CHECK(says(refusal(bob, other), "signing request"));
  other.key_request.assign(7, std::byte{0x30});
  CHECK(says(refusal(bob, other), "signing request"));
  const PeerIdentity gone = AuthorityPool::who(eve);
  REQUIRE(pool.ca().revoke(std::span(&gone, 1), "key-compromise").ok());
  CHECK(says(pool.renew(eve), "was revoked on"));
  // Who had the issuing key could make this one, and the index does not know it.
  LeafOptions somebody;
  somebody.tenant = "acme";
  somebody.user = "mallory";
  auto forged = security::issue(
      load(pool.path("ca/issuing.crt"), pool.path("ca/issuing.key")).value(), somebody);
  REQUIRE(forged.ok());
  const Member mallory{{pool.path("m.crt"), pool.path("m.key"), pool.path("ca/ca.crt")},
                       TlsContext::Side::kClient};
  REQUIRE(save(forged.value(), mallory.files.certificate_path, mallory.files.key_path).ok());
  CHECK(says(pool.renew(mallory), "has not written down"));
  // Without a certificate.
  auto text = parse_join_token(pool.token("gpu7"));
  auto nobody = TlsContext::for_joining(text->root);
  REQUIRE(nobody.ok());
  auto reply = pool.ask(nobody.value(), hers->request);
  REQUIRE_MESSAGE(reply.ok(), reply.status().to_string());
  CHECK(says(reply->refusal, "this connection shows none"));
  const std::string log = contents(pool.path("ca/ca-audit/audit-000001.log"));
  CHECK(log.find("certificate.refused") != std::string::npos);
  CHECK(log.find("was revoked on") != std::string::npos);
}

TEST_CASE("what comes back is looked at: another's service and another's certificate are refused") {
  AuthorityPool pool;
  const Member ann = pool.client("ann");
  auto ask = make_renewal(ann.files, false);
  auto reply = pool.ask(ann, ask->request);
  REQUIRE((reply.ok() && reply->refusal.ok()));
  const std::string before = contents(ann.files.certificate_path);
  const auto take = [&](const AuthorityReply& what) {
    return take_renewal(ann.files, ask.value(), what);
  };
  AuthorityReply other = reply.value();
  other.chain_pem = contents(pool.client("bob").files.certificate_path);
  CHECK(says(take(other), "it is for spiffe://lab/tenant/acme/user/bob"));
  AuthorityPool elsewhere;
  other.chain_pem = contents(elsewhere.client("ann").files.certificate_path);
  CHECK(says(take(other), "another key"));
  const std::string key = contents(elsewhere.path("ann.key"));
  CHECK(says(check_pair(other.chain_pem, std::as_bytes(std::span(key)), contents(ann.files.ca_path),
                        ask->name),
             "not issued by our CA"));
  CHECK(contents(ann.files.certificate_path) == before);
  CHECK(take(reply.value()).ok());
}

TEST_CASE("a key file with two keys gives the one that fits, and a crash in between is survived") {
  AuthorityPool pool;
  const Member ann = pool.client("ann");
  const std::string old_key = contents(ann.files.key_path);
  const std::string old_certificate = contents(ann.files.certificate_path);
  REQUIRE(pool.renew(ann).ok());
  const std::string both = old_key + contents(ann.files.key_path);
  const std::string certificates[] = {old_certificate, contents(ann.files.certificate_path)};
  for (const std::string& certificate : certificates) {
    REQUIRE(replace_file(ann.files.key_path, std::as_bytes(std::span(both)), 0600).ok());
    REQUIRE(
        replace_file(ann.files.certificate_path, std::as_bytes(std::span(certificate)), 0644).ok());
    CHECK(TlsContext::load(ann.files, ann.side).ok());
    CHECK(pool.renew(ann, true).ok());
    CHECK(pool.renew(ann).ok());
    CHECK(TlsContext::load(ann.files, ann.side).ok());
  }
}

TEST_CASE("a server joins by a token, once, as what the token says") {
  AuthorityPool pool;
  const std::string token = pool.token("gpu7");
  auto joined = pool.join(token, "new");
  REQUIRE_MESSAGE(joined.ok(), joined.status().to_string());
  const IdentityFiles files{joined.value(), pool.path("new/gpu7.key"), pool.path("new/ca.crt")};
  CHECK(TlsContext::load(files, TlsContext::Side::kServer).ok());
  auto facts = describe_certificate(joined.value());
  CHECK(identity_uri(facts->who) == "spiffe://lab/server/gpu7/zone/lab");
  CHECK(pool.renew({files, TlsContext::Side::kPeer}).ok());
  CHECK(says(pool.join(token, "again").status(), "was used before"));
  const std::string log = contents(pool.path("ca/ca-audit/audit-000001.log"));
  for (const char* words : {"token.make", "certificate.issue", "was used before"}) {
    CAPTURE(words);
    CHECK(log.find(words) != std::string::npos);
  }
  CHECK(log.find(token) == std::string::npos);
  CHECK(contents(pool.path("ca/tokens")).find(token) == std::string::npos);
}

TEST_CASE("a token that was changed, has expired or is another's lets nobody in") {
  AuthorityPool pool;
  const std::string token = pool.token("gpu7");
  const std::size_t served = pool.served();
  // The hash of the root: whoever is there is not the one, and is told nothing.
  CHECK(says(pool.join(changed(token, 80), "x").status(), "CA"));
  CHECK(pool.served() == served);
  for (std::size_t at : {std::size_t{10}, std::size_t{40}, token.size() - 8}) {
    CAPTURE(at);
    CHECK(says(pool.join(changed(token, at), "x").status(), "token"));
  }
  CHECK(says(pool.join("fcjoin1.AAAA", "x").status(), "this is no token"));
  AuthorityPool elsewhere;
  CHECK(says(pool.join(elsewhere.token("gpu7"), "x").status(), "CA"));
  JoinTokens tokens(pool.path("ca/tokens"));
  const std::int64_t now = std::time(nullptr);
  CHECK(says(tokens.spend(token, now + 901).status(), "has expired"));
  // Spent on the disk before anything else: a crash behind it leaves no second chance.
  CHECK(tokens.spend(token, now).ok());
  CHECK(says(tokens.spend(token, now).status(), "was used before"));
  // A request that is no good costs no token.
  const std::string other = pool.token("gpu8");
  const auto anybody = [](const JoinGrant&) { return Result(Attested{.seconds_max = kDay}); };
  CHECK(says(pool.ca().join(other, {std::byte{1}}, anybody).status(), "signing request"));
  CHECK(pool.join(other, "y").ok());
  // Whom there is no token for.
  JoinGrant grant;
  grant.who.host = "gpu9";
  grant.who.role = kAuthorityRole;
  grant.names = {"gpu9"};
  grant.life_seconds = kDay;
  CHECK(says(pool.ca().make_token(grant, 60).status(), "authority's own"));
  grant.who.role = "";
  grant.names = {"gpu 9"};
  CHECK(says(pool.ca().make_token(grant, 60).status(), "DNS name"));
  grant.names = {"gpu9"};
  CHECK(says(pool.ca().make_token(grant, 8 * kDay).status(), "7 days"));
}

TEST_CASE("who asks too often is told so, and others are not") {
  AuthorityPool pool;
  const Member ann = pool.client("ann"), bob = pool.client("bob");
  auto hers = make_renewal(ann.files, true);
  const PeerIdentity who = AuthorityPool::who(ann);
  const std::vector<std::byte> request = encode(hers->request);
  const std::int64_t now = std::time(nullptr);
  const auto ask = [&](std::int64_t at) {
    return pool.service().answer({&who, "10.0.0.7:1"}, request, at).refusal;
  };
  for (int i = 0; i < limits::kAuthorityAsksAMinute; ++i) CHECK(ask(now).ok());
  CHECK(ask(now).code() == Code::kBusy);
  CHECK(pool.renew(bob).ok());
  CHECK(ask(now + 60).ok());
  AskLimit limit(1);
  for (std::size_t i = 0; i < limits::kAuthorityCountedMax; ++i) {
    REQUIRE(limit.allow(std::to_string(i), 0));
  }
  CHECK(limit.allow("one more", 0));
  CHECK_FALSE(limit.allow("and another", 0));
}

TEST_CASE("messages are read back as they were written, and nothing shorter or longer is one") {
  AuthorityRequest request{.kind = AuthorityAsk::kJoin,
                           .life_seconds = 7,
                           .name = "token",
                           .key_request = {std::byte{1}, std::byte{2}}};
  std::vector<std::byte> bytes = encode(request);
  CHECK(parse_request(bytes).value() == request);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(parse_request(std::span(bytes).first(size)).ok());
  }
  bytes.push_back(std::byte{0});
  CHECK_FALSE(parse_request(bytes).ok());
  const AuthorityReply no{.refusal = Status(Code::kDenied, "no\nway")};
  auto back = parse_reply(encode(no));
  REQUIRE(back.ok());
  CHECK(back->refusal.code() == Code::kDenied);
  CHECK(back->refusal.text() == "no?way");
}

TEST_CASE("renewal comes due at half life or a little earlier, and is tried again with patience") {
  const std::int64_t life = 7 * kDay;
  for (std::uint64_t random : {std::uint64_t{0}, std::uint64_t{12345}, UINT64_MAX}) {
    RenewalSchedule schedule(random);
    schedule.hold(0, life, 0);
    CHECK(schedule.next() <= life / 2);
    CHECK(schedule.next() >= life / 2 - life / 10);
  }
  RenewalSchedule schedule(0);
  schedule.hold(0, life, 0);
  std::int64_t now = schedule.next();
  int tries = 0;
  for (; now < life; now = schedule.next(), ++tries) {
    schedule.failed(now);
    REQUIRE(schedule.next() > now);
    REQUIRE(schedule.next() <= now + 3600);
    CHECK(schedule.is_pressing(now) == ((life - now) * 100 < life * 33));
  }
  CHECK(tries > 84);
  CHECK(tries < 110);
  schedule.hold(now, now + life, now);
  CHECK_FALSE(schedule.is_pressing(now));
  schedule.hold(0, 20, 19);  // late already
  CHECK(schedule.next() == 19);
}
