// Who is let in, until when, and that nobody can stretch it; on a clock that the test owns.
#include "gpu_server/admission.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "tests/security/lease_issuer.h"
#include "tests/security/test_pool.h"

namespace farcall::server {
namespace {

using farcall::testing::LeaseIssuer;
using security::LeaseToken;

constexpr std::int64_t kSecond = 1'000'000'000;

struct OwnTime : TimeSource {
  std::atomic<std::int64_t> wall{LeaseIssuer::kStart * kSecond};
  std::atomic<std::int64_t> monotonic{77};
  mutable std::function<void()> meanwhile = [] {};  // happens when somebody next asks for the time
  std::int64_t wall_ns() const override {
    std::exchange(meanwhile, [] {})();
    return wall;
  }
  std::int64_t monotonic_ns() const override { return monotonic; }
  void pass(std::int64_t ns) {
    wall += ns;
    monotonic += ns;
  }
};

// An issuer, a server that believes it, and a client.
struct World {
  LeaseIssuer issuer;
  OwnTime time;
  security::PeerIdentity who, server;
  security::KeyHash key = LeaseIssuer::sample().holder;
  std::unique_ptr<Admission> admission;

  explicit World(bool with_list = false) {
    who.pool = server.pool = "lab";
    who.tenant = "acme";
    who.user = "ann";
    server.host = "gpu1";
    if (with_list) issuer.revoke(1, {});
    Admission::Options options{.keys_path = issuer.folder(), .place_wait_ms = 1};
    if (with_list) options.revoked_path = issuer.path("revoked.leases");
    auto opened = Admission::open(options, time);
    REQUIRE_MESSAGE(opened.ok(), opened.status().to_string());
    admission = std::move(opened).value();
  }
  Result<Admitted> show(std::span<const std::byte> token) {
    return admission->admit({.who = who, .key = key, .server = server, .token = token});
  }
  Result<Admitted> show(const LeaseToken& lease) { return show(issuer.sign(lease)); }
};

bool says(const Status& status, const char* words) {
  return status.text().find(words) != std::string::npos;
}

bool is_readable_within(int fd, int ms) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, ms) == 1;
}

LeaseToken renewed(LeaseToken lease, std::int64_t seconds) {
  ++lease.serial;
  lease.expires += seconds;
  return lease;
}

TEST_CASE("without keys everybody of the pool is let in, for good") {
  OwnTime time;
  auto admission = Admission::open({}, time);
  REQUIRE(admission.ok());
  security::PeerIdentity who;
  who.tenant = "acme";
  who.user = "ann";
  auto anyone = admission.value()->admit({.who = who, .key = {}, .server = who, .token = {}});
  REQUIRE(anyone.ok());
  CHECK(anyone->token() == nullptr);
  CHECK(anyone->name() == "tenant acme, user ann");
  CHECK(anyone->wait_ms() == -1);
  CHECK(anyone->changed_fd() == -1);
  time.pass(1'000'000 * kSecond);
  CHECK(anyone->state().ok());
  CHECK(Admission::open({.revoked_path = "list"}, time).status().code() == Code::kUnsupported);
  CHECK(Admission::open({.keys_path = "/nowhere"}, time).status().code() == Code::kNotFound);
}

TEST_CASE("with keys nobody is let in without a lease that holds here and now") {
  World world;
  const Status bare = world.show(std::span<const std::byte>()).status();
  CHECK(bare.code() == Code::kDenied);
  CHECK(says(bare, "--lease FILE"));
  CHECK(says(bare, "FARCALL_LEASE"));
  CHECK(world.show(LeaseIssuer::sample()).ok());

  security::LeaseBytes edited = world.issuer.sign(LeaseIssuer::sample());
  edited[60] ^= std::byte{1};
  CHECK(says(world.show(edited).status(), "changed after key"));
  LeaseIssuer stranger;
  CHECK(says(world.show(stranger.sign(LeaseIssuer::sample())).status(), "does not know"));
  LeaseToken lease = LeaseIssuer::sample();
  lease.server = "gpu2";
  CHECK(says(world.show(lease).status(), "for server gpu2, this is gpu1"));
  lease = LeaseIssuer::sample();
  lease.holder[0] ^= std::byte{1};
  CHECK(says(world.show(lease).status(), "another certificate"));
  world.who.user = "bob";
  CHECK(says(world.show(LeaseIssuer::sample()).status(), "user ann's"));
}

TEST_CASE("a lease ends to the nanosecond, for those who are in and for those who come") {
  World world;
  const LeaseToken lease = LeaseIssuer::sample();
  auto admitted = world.show(lease);
  REQUIRE_MESSAGE(admitted.ok(), admitted.status().to_string());
  CHECK(admitted->wait_ms() == 60'000);  // it asks again now and then
  world.time.pass(3599 * kSecond);
  CHECK(admitted->wait_ms() == 1000);
  world.time.pass(kSecond - 1);
  CHECK(admitted->state().ok());
  CHECK(admitted->wait_ms() == 1);
  CHECK(world.show(lease).ok());
  world.time.pass(1);
  CHECK(admitted->state().code() == Code::kDenied);
  CHECK(says(admitted->state(), "expired at 2027-01-15 09:00:00 UTC"));
  CHECK(admitted->wait_ms() == 0);
  CHECK(says(world.show(lease).status(), "has expired"));
}

TEST_CASE("a wall clock that jumps neither stretches nor cuts what was granted") {
  World world;
  const LeaseToken lease = LeaseIssuer::sample();
  auto admitted = world.show(lease);
  REQUIRE(admitted.ok());
  world.time.wall += 5 * 3600 * kSecond;
  CHECK(admitted->state().ok());
  CHECK(says(world.show(renewed(LeaseIssuer::sample(), 0)).status(), "has expired"));
  world.time.wall -= 50 * 3600 * kSecond;
  CHECK(admitted->state().ok());
  world.time.pass(3599 * kSecond);
  CHECK(admitted->state().ok());
  // Who comes now is judged by the time that has passed, not by the hand on the clock.
  CHECK(world.show(lease).ok());
  world.time.pass(kSecond);
  CHECK_FALSE(admitted->state().ok());
  CHECK(says(world.show(lease).status(), "has expired"));
  CHECK(says(world.show(LeaseIssuer::sample()).status(), "has expired"));
}

TEST_CASE("a newer token of a lease is its newer end for all of its sessions") {
  World world;
  const LeaseToken lease = LeaseIssuer::sample();
  auto admitted = world.show(lease);
  REQUIRE(admitted.ok());
  world.time.pass(1800 * kSecond);
  CHECK_FALSE(is_readable_within(admitted->changed_fd(), 0));
  REQUIRE(world.show(renewed(lease, 3600)).ok());
  CHECK(is_readable_within(admitted->changed_fd(), 0));
  admitted->take_change();
  CHECK_FALSE(is_readable_within(admitted->changed_fd(), 0));
  // The older one is of no use any more, nor is one that differs under the same serial.
  CHECK(says(world.show(lease).status(), "newer token of this lease"));
  LeaseToken twin = renewed(lease, 3600);
  twin.memory_bytes = 0;
  CHECK(says(world.show(twin).status(), "same serial"));
  world.time.pass(5399 * kSecond);
  CHECK(admitted->state().ok());
  world.time.pass(kSecond);
  CHECK_FALSE(admitted->state().ok());
}

TEST_CASE("a newer token may also end a lease sooner") {
  World world;
  const LeaseToken lease = LeaseIssuer::sample();
  auto admitted = world.show(lease);
  REQUIRE(admitted.ok());
  REQUIRE(world.show(renewed(lease, -3000)).ok());
  world.time.pass(600 * kSecond);
  CHECK_FALSE(admitted->state().ok());
}

TEST_CASE("a lease has so many sessions at a time and no more") {
  World world;
  LeaseToken lease = LeaseIssuer::sample();
  lease.sessions = 2;
  std::vector<Admitted> inside;
  for (int i = 0; i < 2; ++i) {
    auto one = world.show(lease);
    REQUIRE(one.ok());
    inside.push_back(std::move(one).value());
  }
  const Status full = world.show(lease).status();
  CHECK(full.code() == Code::kBusy);
  CHECK(says(full, "all 2 sessions"));
  inside.pop_back();
  CHECK(world.show(lease).ok());
  // Another lease has places of its own.
  CHECK(world.show(LeaseIssuer::sample()).ok());
}

TEST_CASE("who comes for a place that is just being given back gets it") {
  LeaseIssuer issuer;
  OwnTime time;
  auto admission =
      Admission::open({.keys_path = issuer.path("lease.pub"), .place_wait_ms = 10'000}, time);
  REQUIRE(admission.ok());
  LeaseToken lease = LeaseIssuer::sample();
  lease.sessions = 1;
  const security::LeaseBytes token = issuer.sign(lease);
  security::PeerIdentity who, server;
  who.tenant = "acme";
  who.user = "ann";
  server.pool = "lab";
  server.host = "gpu1";
  const Admission::Applicant ann{.who = who, .key = lease.holder, .server = server, .token = token};
  auto first = admission.value()->admit(ann);
  REQUIRE(first.ok());
  std::thread leaver(
      [held = std::move(first).value()]() mutable { Admitted gone(std::move(held)); });
  CHECK(admission.value()->admit(ann).ok());
  leaver.join();
}

TEST_CASE("a lease on the list of revoked ones ends, and lets nobody in") {
  World world(true);
  const LeaseToken lease = LeaseIssuer::sample(), other = LeaseIssuer::sample();
  auto admitted = world.show(lease);
  auto neighbour = world.show(other);
  REQUIRE(admitted.ok());
  REQUIRE(neighbour.ok());
  world.issuer.revoke(2, {lease.id});
  REQUIRE(is_readable_within(admitted->changed_fd(), 10'000));
  CHECK(says(admitted->state(), "taken back"));
  CHECK(admitted->wait_ms() == 0);
  CHECK(says(world.show(lease).status(), "taken back"));
  CHECK(says(world.show(renewed(lease, 60)).status(), "taken back"));
  CHECK(neighbour->state().ok());
  // An older list is not believed, nor is a file that is none: the newer one stays in force.
  world.issuer.revoke(1, {});
  CHECK(says(world.admission->reload(), "old one in its place"));
  std::filesystem::copy_file(world.issuer.path("lease.pub"), world.issuer.path("revoked.leases"),
                             std::filesystem::copy_options::overwrite_existing);
  CHECK_FALSE(world.admission->reload().ok());
  CHECK(says(world.show(lease).status(), "taken back"));
}

TEST_CASE("leases of a key that is taken away end with it") {
  World world;
  auto admitted = world.show(LeaseIssuer::sample());
  REQUIRE(admitted.ok());
  REQUIRE(world.admission->reload().ok());
  CHECK(admitted->state().ok());
  LeaseIssuer next;
  std::filesystem::copy_file(next.path("lease.pub"), world.issuer.path("lease.pub"),
                             std::filesystem::copy_options::overwrite_existing);
  REQUIRE(world.admission->reload().ok());
  CHECK(is_readable_within(admitted->changed_fd(), 0));
  CHECK_FALSE(admitted->state().ok());
  CHECK(world.show(next.sign(LeaseIssuer::sample())).ok());
}

TEST_CASE("who comes while keys or list change is let in by the new ones or not at all") {
  World world(true);
  const LeaseToken lease = LeaseIssuer::sample();
  // The first look at the clock is about the clock, the second about the token, which was read.
  const auto once_read = [&](std::function<void()> change) {
    world.time.meanwhile = [&world, change] { world.time.meanwhile = change; };
  };
  SUBCASE("revoked") {
    once_read([&] {
      world.issuer.revoke(2, {lease.id});
      CHECK(world.admission->reload().ok());
    });
    CHECK(says(world.show(lease).status(), "taken back"));
  }
  SUBCASE("the key is gone") {
    LeaseIssuer next;
    next.revoke(2, {});
    once_read([&] {
      for (const char* name : {"lease.pub", "revoked.leases"}) {
        std::filesystem::copy_file(next.path(name), world.issuer.path(name),
                                   std::filesystem::copy_options::overwrite_existing);
      }
      CHECK(world.admission->reload().ok());
    });
    CHECK(says(world.show(lease).status(), "taken from this server"));
  }
}

TEST_CASE("leased devices are counted among those that the server offers") {
  const char* const uuid = "GPU-66617263-616c-6c2d-736f-66746770751f";
  CHECK(visible_devices(nullptr, {"1", "0"}).value() == "1,0");
  CHECK(visible_devices(nullptr, {uuid}).value() == uuid);
  CHECK(visible_devices("3,5", {"1"}).value() == "5");
  CHECK(visible_devices((std::string("2,") + uuid).c_str(), {uuid, "0"}).value() ==
        std::string(uuid) + ",2");
  CHECK(visible_devices("3,5", {"2"}).status().code() == Code::kDenied);
  CHECK(visible_devices("3,5", {"3"}).status().code() == Code::kDenied);
  CHECK(visible_devices("3,5", {uuid}).status().code() == Code::kDenied);
  CHECK(visible_devices("", {"0"}).ok());
}

}  // namespace
}  // namespace farcall::server
