// Who may not go on: a server in this process whose deny list, certificate and key change under it.
#include <doctest/doctest.h>
#include <poll.h>

#include <ctime>
#include <filesystem>
#include <thread>

#include "gpu_server/live_sessions.h"
#include "gpu_server/supervisor.h"
#include "gpu_server/watched_files.h"
#include "security/ca_revoke.h"
#include "security/file.h"
#include "tests/gpu_server/dialling.h"
#include "tests/security/test_pool.h"

namespace farcall::server {
namespace {

using farcall::testing::TestPool;
using security::PeerIdentity;

Deadline soon() { return Deadline::after(system_clock(), 20'000); }

PeerIdentity who(const security::IdentityFiles& files) {
  auto facts = security::describe_certificate(files.certificate_path);
  REQUIRE(facts.ok());
  return facts->who;
}

bool is_readable(int fd, int ms) {
  pollfd look{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&look, 1, ms) == 1;
}

bool says(const Status& status, const std::string& words) {
  return status.text().find(words) != std::string::npos;
}

// A pool with a deny list, on which nobody is yet, and a server that goes by it.
class Pool {
 public:
  Pool() {
    deny("");
    SupervisorOptions options;
    options.identity = pool_.server();
    options.identity.deny_list_path = pool_.path("deny.crl");
    options.worker = {.worker_path = FARCALL_BIN "/farcall-worker",
                      .driver_path = FARCALL_TEST_DRIVER};
    options.hello = {.table_fingerprint = 17, .version = "test"};
    auto opened = Supervisor::open(options);
    REQUIRE_MESSAGE(opened.ok(), opened.status().to_string());
    server_ = std::move(opened).value();
    thread_ = std::thread([this] { (void)server_->run(-1); });
  }
  ~Pool() {
    server_->stop();
    thread_.join();
  }

  // Puts one more on the list, or nobody.
  void deny(const std::string& serial) {
    const security::Revocation one{serial, std::time(nullptr), "key-compromise"};
    auto list =
        security::add_to_deny_list(pool_.ca(), list_, std::span(&one, serial.empty() ? 0 : 1));
    REQUIRE_MESSAGE(list.ok(), list.status().to_string());
    list_ = list.value();
    put(list_);
  }
  void put(const std::string& text) {
    REQUIRE(
        security::replace_file(pool_.path("deny.crl"), std::as_bytes(std::span(text)), 0644).ok());
  }
  security::IdentityFiles client(const std::string& name) {
    auto options = TestPool::client_options();
    options.user = name;
    return pool_.issue(name, options);
  }
  Result<std::unique_ptr<link::Session>> dial(const security::IdentityFiles& identity) {
    return server::dial(server_->port(), identity);
  }
  const std::string& list() const { return list_; }
  const TestPool& files() const { return pool_; }
  TestPool& files() { return pool_; }
  Supervisor& server() { return *server_; }

 private:
  TestPool pool_;
  std::string list_;
  std::unique_ptr<Supervisor> server_;
  std::thread thread_;
};

std::unique_ptr<link::Session> session_of(Pool& pool, const security::IdentityFiles& identity) {
  auto session = pool.dial(identity);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  return std::move(session).value();
}

}  // namespace

TEST_CASE("who is revoked loses the session at once, is told why, and gets no other") {
  Pool pool;
  const auto ann = pool.client("ann"), bob = pool.client("bob");
  auto hers = session_of(pool, ann);
  auto his = session_of(pool, bob);
  pool.deny(who(ann).serial);
  const Status told = hers->receive(soon()).status();
  CHECK(told.code() == Code::kDenied);
  CHECK_MESSAGE(says(told, "your certificate was revoked on 20"), told.text());
  CHECK_MESSAGE(says(told, "(key compromise): ask for a new one"), told.text());
  const Status again = pool.dial(ann).status();
  CHECK(again.code() == Code::kDenied);
  CHECK_MESSAGE(says(again, "it was revoked"), again.text());
  // Nobody else notices, and a new certificate is as good as ever.
  CHECK(his->receive(Deadline::after(system_clock(), 0)).status().code() == Code::kTimeout);
  CHECK(pool.dial(pool.client("ann2")).ok());
}

TEST_CASE("a list that is damaged, older or gone changes nothing, and a good one after it does") {
  Pool pool;
  const auto ann = pool.client("ann"), bob = pool.client("bob");
  auto his = session_of(pool, bob);
  const std::string none = pool.list();
  pool.deny(who(ann).serial);
  while (pool.dial(ann).ok()) {  // until the server has looked
  }
  for (const std::string& worse : {none, std::string("junk"), pool.list().substr(0, 300)}) {
    pool.put(worse);
    CHECK(pool.dial(ann).status().code() == Code::kDenied);
  }
  std::filesystem::remove(pool.files().path("deny.crl"));
  CHECK(pool.dial(ann).status().code() == Code::kDenied);
  CHECK(his->receive(Deadline::after(system_clock(), 0)).status().code() == Code::kTimeout);
  pool.deny(who(bob).serial);
  CHECK(his->receive(soon()).status().code() == Code::kDenied);
}

TEST_CASE("a renewed certificate is in use without a signal, and no session notices") {
  Pool pool;
  const auto bob = pool.client("bob");
  auto his = session_of(pool, bob);
  const auto fresh = pool.files().issue("fresh", TestPool::server_options());
  // One after the other: in between the two do not fit.
  std::filesystem::rename(fresh.key_path, pool.files().server().key_path);
  CHECK(pool.dial(bob).ok());
  std::filesystem::rename(fresh.certificate_path, pool.files().server().certificate_path);
  const std::string serial = who(pool.files().server()).serial;
  for (;;) {
    link::HelloInfo info;
    auto session = link::dial(options_for(pool.server().port(), bob), &info);
    REQUIRE_MESSAGE(session.ok(), session.status().to_string());
    if (info.server.serial == serial) break;
  }
  CHECK(his->receive(Deadline::after(system_clock(), 0)).status().code() == Code::kTimeout);
}

TEST_CASE("a server does not start with a list it cannot go by, nor with a certificate on it") {
  TestPool pool;
  SupervisorOptions options;
  options.identity = pool.server();
  options.identity.deny_list_path = pool.path("deny.crl");
  CHECK(Supervisor::open(options).status().code() == Code::kNotFound);
  auto auth = security::describe_certificate(pool.server().certificate_path);
  const security::Revocation one{auth->who.serial, std::time(nullptr), ""};
  auto list = security::add_to_deny_list(pool.ca(), "", std::span(&one, 1));
  REQUIRE(
      security::replace_file(pool.path("deny.crl"), std::as_bytes(std::span(list.value())), 0644)
          .ok());
  const Status why = Supervisor::open(options).status();
  CHECK_MESSAGE(says(why, "server.crt was revoked"), why.text());
}

TEST_CASE("a session is ended for its client or for a server it has a link with, and once") {
  LiveSessions live;
  PeerIdentity ann, bob, gpu2;
  ann.serial = "1";
  bob.serial = "2";
  gpu2.serial = "3";
  const LiveSessions::Id first{std::byte{1}}, second{std::byte{2}};
  LiveSessions::Place hers(live, ann, first);
  LiveSessions::Place his(live, bob, second);
  const auto deny = [&](const std::string& serial) {
    return live.end_where([&](const PeerIdentity& one) {
      return one.serial == serial ? Status(Code::kDenied, "no more of " + serial) : ok();
    });
  };
  CHECK(deny("3") == 0);
  live.link(second, gpu2);
  CHECK(deny("3") == 1);
  CHECK(deny("3") == 0);
  CHECK(deny("2") == 0);
  CHECK(is_readable(his.fd(), 0));
  CHECK(his.why().text() == "no more of 3");
  CHECK_FALSE(is_readable(hers.fd(), 0));
  CHECK(hers.why().ok());
  hers.link(gpu2);
  CHECK(deny("3") == 1);
}

TEST_CASE("a session ends with its client's certificate, unless a renewed one was shown") {
  LiveSessions live;
  const auto client = [](const char* user, const char* serial, std::int64_t not_after) {
    PeerIdentity who;
    who.pool = "lab";
    who.tenant = "acme";
    who.user = user;
    who.serial = serial;
    who.not_after = not_after;
    return who;
  };
  const std::int64_t now = std::time(nullptr);
  LiveSessions::Place hers(live, client("ann", "1", now + 10), {std::byte{1}});
  LiveSessions::Place his(live, client("bob", "2", now + 10), {std::byte{2}});
  live.vouch(client("ann", "3", now + 20));
  live.vouch(client("ann", "4", now + 5));    // does not live longer
  live.vouch(client("carl", "5", now + 99));  // somebody else
  CHECK(live.end_expired(now + 9) == 0);
  CHECK(live.end_expired(now + 10) == 1);
  CHECK(says(his.why(), "your certificate expired on 20"));
  CHECK(hers.why().ok());
  // What was shown is hers from now on, and can be revoked; what was not cannot.
  const auto deny = [&](const std::string& serial) {
    return live.end_where([&](const PeerIdentity& one) {
      return one.serial == serial ? Status(Code::kDenied, "gone") : ok();
    });
  };
  CHECK(deny("4") == 0);
  CHECK(deny("3") == 1);
  CHECK(live.end_expired(now + 20) == 0);  // has ended already
  LiveSessions::Place again(live, client("ann", "6", now - 1), {std::byte{3}});
  live.vouch(client("ann", "7", now + 30));
  CHECK(live.end_expired(now + 29) == 0);
  CHECK(deny("6") == 0);  // expired, and on nobody's list
  CHECK(live.end_expired(now + 30) == 1);
}

TEST_CASE("a file is seen to change by writing, renaming, removing, and through a moved link") {
  TestPool pool;
  const std::string direct = pool.path("one"), linked = pool.path("two");
  const auto write = [](const std::string& path, const std::string& text) {
    REQUIRE(security::replace_file(path, std::as_bytes(std::span(text)), 0644).ok());
  };
  write(direct, "1");
  write(pool.path("a"), "a");
  write(pool.path("b"), "bb");
  std::filesystem::create_symlink(pool.path("a"), linked);
  WatchedFiles files({direct, "", linked});
  CHECK(files.changed().empty());
  write(direct, "2");
  CHECK(is_readable(files.fd(), 5'000));
  CHECK(files.changed() == std::vector<std::string>{direct});
  CHECK(files.changed().empty());
  std::filesystem::create_symlink(pool.path("b"), pool.path("fresh"));
  std::filesystem::rename(pool.path("fresh"), linked);
  CHECK(files.changed() == std::vector<std::string>{linked});
  std::filesystem::remove(direct);
  CHECK(files.changed() == std::vector<std::string>{direct});
  CHECK(WatchedFiles().look_ms() == -1);
}

}  // namespace farcall::server
