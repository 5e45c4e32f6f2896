// 90 days of a pool in which everybody renews: real certificates, files and TLS handshakes, and a
// clock that is set. The clock is time() itself, replaced in this program for its own code and for
// OpenSSL's, so that nothing that is tested knows of it.
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "security/deny_list.h"
#include "security/renewal_schedule.h"
#include "tests/security/authority_pool.h"

namespace {

// How much later it is than the machine's clock says; only the test below sets it.
std::atomic<std::int64_t> g_later_seconds{0};

}  // namespace

// OpenSSL's library must find it, too.
extern "C" __attribute__((visibility("default"))) time_t time(time_t* out) noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const time_t later = now.tv_sec + g_later_seconds.load();
  if (out != nullptr) *out = later;
  return later;
}

using namespace farcall;
using namespace farcall::security;
using farcall::testing::AuthorityPool;
using farcall::testing::Member;
using farcall::testing::patience;

namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kStep = kDay / 2;
constexpr int kDays = 90;

class LaterClock {
 public:
  ~LaterClock() { g_later_seconds = 0; }
  void advance(std::int64_t seconds) { g_later_seconds += seconds; }
};

struct Renewing {
  Member member;
  RenewalSchedule schedule;
  int renewals = 0;

  void look() {
    auto facts = describe_certificate(member.files.certificate_path);
    REQUIRE(facts.ok());
    schedule.hold(facts->not_before, facts->not_after, std::time(nullptr));
  }
};

// The pool's members, and what becomes of them as days pass.
class Days {
 public:
  Days() {
    REQUIRE(pool_.ca().revoke({}, "").ok());
    auto list = DenyList::open(pool_.ca().deny_list_path(), pool_.ca().root_path());
    REQUIRE(list.ok());
    deny_list_ = std::move(list).value();
    for (const char* name : {"gpu1", "gpu2"}) add(name, pool_.server(name));
    for (const char* name : {"ann", "bob", "cleo"}) add(name, pool_.client(name));
  }

  void add(const std::string& name, const Member& member) {
    const auto [at, fresh] = members_.emplace(
        name, Renewing{member, RenewalSchedule(std::hash<std::string>()(name)), 0});
    REQUIRE(fresh);
    at->second.look();
  }
  void renew_what_is_due(bool authority_is_down) {
    const std::int64_t now = std::time(nullptr);
    for (auto& [key, one] : members_) {
      const std::string& name = key;  // clang 14's lambdas capture no parts of a binding
      if (now < one.schedule.next()) continue;
      const Status done = authority_is_down ? Status(Code::kClosed, "nobody is there")
                                            : pool_.renew(one.member, name == "cleo");
      if (!done.ok()) {
        CAPTURE(name);
        CHECK_MESSAGE(authority_is_down, done.to_string());
        one.schedule.failed(now);
        continue;
      }
      ++one.renewals;
      one.look();
    }
  }
  // As the authority's service does each day, and servers when the file changes.
  void date_deny_list() {
    CHECK(pool_.ca().revoke({}, "").ok());
    const Status taken = deny_list_->reload();
    CHECK_MESSAGE(taken.ok(), taken.to_string());
  }
  void meet_everybody(const std::vector<std::string>& refused) {
    for (const auto& [server, serving] : members_) {
      if (serving.member.side != TlsContext::Side::kPeer) continue;
      auto tls =
          TlsContext::load(serving.member.files, TlsContext::Side::kServer, {deny_list_, {}});
      REQUIRE_MESSAGE(tls.ok(), tls.status().to_string());
      for (const auto& [key, dialling] : members_) {
        const std::string& client = key;
        if (dialling.member.side != TlsContext::Side::kClient) continue;
        const bool is_refused = std::find(refused.begin(), refused.end(), client) != refused.end();
        const Status met = meet(tls.value(), dialling.member, server + ".lab");
        CAPTURE(client);
        CHECK_MESSAGE(met.ok() == !is_refused, met.to_string());
        ++(is_refused ? refusals_ : handshakes_);
      }
    }
  }
  void revoke(const std::string& name) {
    const PeerIdentity who = AuthorityPool::who(members_.at(name).member);
    CHECK(pool_.ca().revoke(std::span(&who, 1), "key-compromise").ok());
    CHECK(deny_list_->reload().ok());
    const std::int64_t now = std::time(nullptr);
    members_.at(name).schedule.hold(now, now + kDays * kDay * 3, now);  // and asks for no more
  }
  void join(const std::string& name) {
    auto joined = pool_.join(pool_.token(name), name);
    REQUIRE_MESSAGE(joined.ok(), joined.status().to_string());
    add(name,
        {{joined.value(), pool_.path(name + "/" + name + ".key"), pool_.path(name + "/ca.crt")},
         TlsContext::Side::kPeer});
  }
  void drop(const std::string& name) { members_.erase(name); }

  AuthorityPool& pool() { return pool_; }
  const std::map<std::string, Renewing>& members() const { return members_; }
  int handshakes() const { return handshakes_; }
  int refusals() const { return refusals_; }

 private:
  static Status meet(const TlsContext& server, const Member& client, const std::string& name) {
    auto tls = TlsContext::load(client.files, client.side);
    if (!tls.ok()) return tls.status();
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const std::array<std::byte, 1> yes{};
    std::thread serving([&server, &yes, end = ends[1]] {
      auto channel = TlsChannel::accept(Fd(end), server, patience());
      if (channel.ok()) static_cast<void>(channel.value()->send(yes, patience()));
    });
    auto channel = TlsChannel::connect(Fd(ends[0]), tls.value(), name, patience());
    Status done = channel.status();
    std::array<std::byte, 1> heard;
    if (channel.ok()) done = channel.value()->receive(heard, patience());
    serving.join();
    return done;
  }

  AuthorityPool pool_;
  std::shared_ptr<DenyList> deny_list_;
  std::map<std::string, Renewing> members_;
  int handshakes_ = 0;
  int refusals_ = 0;
};

}  // namespace

TEST_CASE("90 days pass: everybody renews, the authority is away and changes, no handshake fails") {
  LaterClock clock;
  Days days;
  std::vector<std::string> refused;
  std::string first_issuer = AuthorityPool::who(days.members().at("ann").member).issuer;
  for (std::int64_t step = 1; step <= kDays * kDay / kStep; ++step) {
    clock.advance(kStep);
    const std::int64_t day = step * kStep / kDay;
    const bool is_new_day = step * kStep % kDay == 0;
    CAPTURE(day);
    days.renew_what_is_due(day >= 20 && day < 22);
    if (is_new_day) days.date_deny_list();
    if (is_new_day && day == 40) {
      days.revoke("bob");
      refused.emplace_back("bob");
    }
    if (is_new_day && day == 42) {  // he stays away, and comes back as somebody else
      days.drop("bob");
      days.add("bob2", days.pool().client("bob2"));
    }
    if (is_new_day && day == 50) days.join("gpu3");
    if (is_new_day && day == 60) CHECK(days.pool().ca().make_issuing().ok());
    days.meet_everybody(refused);
  }
  // 180 times: 3 clients with 2 servers, from day 50 on with 3.
  CHECK(days.handshakes() + days.refusals() == 180 * 6 + 81 * 3);
  CHECK(days.refusals() == 4 * 2);
  for (const auto& [key, one] : days.members()) {
    const std::string& name = key;
    CAPTURE(name);
    if (name != "bob2" && name != "gpu3") CHECK(one.renewals >= 23);
    CHECK(AuthorityPool::who(one.member).issuer != first_issuer);
  }
  auto differences = days.pool().ca().differences();
  REQUIRE(differences.ok());
  CHECK(differences->empty());
}
