// Turns on a device, with tenants and a clock that are made up.
#include "gpu_server/share_arbiter.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "transport/base/limits_share.h"

namespace farcall::server {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kStepNs = 50'000;

// A lease whose kernels are all as long as each other, one at a time.
struct Tenant {
  unsigned percent = kNoShare;
  std::int64_t kernel_ns = kMs;
  bool wants = true;
  bool is_dead = false;        // it holds its turn and says nothing any more
  std::int64_t ends_ns = -1;   // of the kernel under way; -1: there is none
  std::int64_t done_ns = 0;    // of all that ended
  std::int64_t waited_ns = 0;  // longest time without a kernel under way, while it wanted one
  std::int64_t idle_since_ns = -1;
};

struct Device {
  std::map<ShareArbiter::Name, Tenant> tenants;
  ShareArbiter arbiter;
  std::int64_t now_ns = 1'000 * kMs;
  std::size_t most_turns = 0;  // at a time

  Tenant& add(ShareArbiter::Name name, Tenant tenant) {
    arbiter.join(name, tenant.percent);
    return tenants[name] = tenant;
  }
  void step(ShareArbiter::Name name, Tenant& tenant) {
    if (tenant.is_dead) return;
    const bool is_running = tenant.ends_ns > now_ns;
    if (tenant.ends_ns >= 0 && !is_running) {
      tenant.done_ns += tenant.kernel_ns;
      tenant.ends_ns = -1;
    }
    const bool may_launch = arbiter.turn(name) != Turn::kShut;
    if (tenant.wants && tenant.ends_ns < 0 && may_launch) {
      tenant.ends_ns = now_ns + tenant.kernel_ns;
      tenant.idle_since_ns = -1;
    }
    if (tenant.wants && tenant.ends_ns < 0) {
      if (tenant.idle_since_ns < 0) tenant.idle_since_ns = now_ns;
      tenant.waited_ns = std::max(tenant.waited_ns, now_ns - tenant.idle_since_ns);
    }
    arbiter.note(name, {tenant.wants || tenant.ends_ns >= 0, !may_launch && tenant.ends_ns < 0},
                 now_ns);
  }
  void run(std::int64_t ns) {
    for (const std::int64_t end_ns = now_ns + ns; now_ns < end_ns; now_ns += kStepNs) {
      for (auto& [name, tenant] : tenants) step(name, tenant);
      arbiter.tick(now_ns);
      std::size_t turns = 0;
      for (auto& [name, tenant] : tenants) turns += arbiter.turn(name) == Turn::kTurn;
      most_turns = std::max(most_turns, turns);
    }
    CHECK(most_turns <= 1);
  }
  double part(ShareArbiter::Name name) {
    double all = 0;
    for (auto& [each, tenant] : tenants) all += static_cast<double>(tenant.done_ns);
    return static_cast<double>(tenants[name].done_ns) / all;
  }
};

TEST_CASE("two greedy leases at 30:70 get 30:70, whatever their kernels last") {
  for (const std::int64_t first_ns : {kMs / 10, kMs, 30 * kMs}) {
    for (const std::int64_t second_ns : {kMs / 10, 7 * kMs}) {
      Device device;
      device.add(1, {.percent = 30, .kernel_ns = first_ns});
      device.add(2, {.percent = 70, .kernel_ns = second_ns});
      device.run(20'000 * kMs);
      CAPTURE(first_ns);
      CAPTURE(second_ns);
      CHECK(device.part(1) == doctest::Approx(0.30).epsilon(0.03));
      CHECK(device.part(2) == doctest::Approx(0.70).epsilon(0.03));
    }
  }
}

TEST_CASE("leases without a share divide what is left; one that is away leaves its share to all") {
  Device device;
  device.add(1, {.percent = 40});
  device.add(2, {});
  device.add(3, {});
  device.run(10'000 * kMs);
  for (ShareArbiter::Name name : {2U, 3U})
    CHECK(device.part(name) == doctest::Approx(0.30).epsilon(0.03));
  device.tenants[3].wants = false;
  for (auto& [name, tenant] : device.tenants) tenant.done_ns = 0;
  device.run(10'000 * kMs);
  CHECK(device.part(1) == doctest::Approx(0.40).epsilon(0.03));
  CHECK(device.part(2) == doctest::Approx(0.60).epsilon(0.03));
  // Shares of more than 100 are parts of their sum, and who has none is not left out.
  Device crowded;
  crowded.add(1, {.percent = 90});
  crowded.add(2, {.percent = 90});
  crowded.add(3, {});
  crowded.run(20'000 * kMs);
  CHECK(crowded.part(1) == doctest::Approx(90.0 / 181).epsilon(0.03));
  CHECK(crowded.part(3) == doctest::Approx(1.0 / 181).epsilon(0.2));
}

TEST_CASE("the device is open to who is alone there, and to all while nobody has a share") {
  Device device;
  device.add(1, {.percent = 30});
  device.run(100 * kMs);
  CHECK(device.arbiter.turn(1) == Turn::kOpen);
  CHECK(device.arbiter.next_ns() == INT64_MAX);
  CHECK(device.tenants[1].waited_ns <= kStepNs);
  Device open;
  open.add(1, {});
  open.add(2, {});
  open.run(100 * kMs);
  CHECK(open.arbiter.turn(1) == Turn::kOpen);
  CHECK(open.arbiter.turn(2) == Turn::kOpen);
  open.add(3, {.percent = 20});
  open.run(100 * kMs);
  CHECK(open.arbiter.turn(1) != Turn::kOpen);
  open.tenants[3].wants = false;
  open.run(100 * kMs);
  CHECK(open.arbiter.turn(1) != Turn::kOpen);  // it may come back soon
  open.run(limits::kShareQuietNs);
  CHECK(open.arbiter.turn(1) == Turn::kOpen);
}

TEST_CASE("the debt of a kernel of one second is paid back, and no saved up time with it") {
  Device device;
  device.add(1, {.percent = 50, .kernel_ns = 1'000 * kMs});
  device.add(2, {.percent = 50});
  device.run(200 * kMs);
  device.tenants[1].kernel_ns = kMs;  // from its second one on
  device.run(20'000 * kMs);
  CHECK(device.part(1) == doctest::Approx(0.50).epsilon(0.05));
  // The other did not wait for all of it.
  CHECK(device.tenants[2].waited_ns <= limits::kShareDrainNs + 25 * kMs);
  // Ten seconds away are no credit.
  device.tenants[1].wants = false;
  device.run(10'000 * kMs);
  device.tenants[1].wants = true;
  for (auto& [name, tenant] : device.tenants) tenant.done_ns = 0, tenant.waited_ns = 0;
  device.run(1'000 * kMs);
  CHECK(device.part(2) == doctest::Approx(0.50).epsilon(0.05));
  CHECK(device.tenants[2].waited_ns < 25 * kMs);
}

TEST_CASE("who comes and goes all the time gets no more than its share") {
  Device device;
  Tenant& restless = device.add(1, {.percent = 30});
  device.add(2, {.percent = 70});
  for (int round = 0; round < 4'000; ++round) {
    restless.wants = true;
    device.run(3 * kMs);
    restless.wants = false;
    device.run(kMs / 5);
  }
  CHECK(device.part(1) < 0.31);
  CHECK(device.tenants[2].waited_ns < 25 * kMs);
}

TEST_CASE("who comes with little to do gets its turn soon") {
  Device device;
  device.add(1, {.percent = 10});
  Tenant& seldom = device.add(2, {.percent = 90});
  seldom.wants = false;
  for (int round = 0; round < 50; ++round) {
    device.run(40 * kMs);
    seldom.wants = true;
    device.run(4 * kMs);
    seldom.wants = false;
  }
  CHECK(seldom.waited_ns <= limits::kShareTurnLeastNs + 2 * kMs);
}

TEST_CASE("a worker that dies or hangs in its turn holds up nobody for long") {
  Device device;
  device.add(1, {.percent = 50});
  device.add(2, {.percent = 50});
  device.run(105 * kMs);
  while (device.arbiter.turn(1) != Turn::kTurn) device.run(kMs);
  device.tenants[1].is_dead = true;
  device.tenants[2].waited_ns = 0;
  device.run(5'000 * kMs);
  // Once for each of its turns, which are as rare as its debt makes them.
  CHECK(device.tenants[2].waited_ns <= limits::kShareDrainNs + 15 * kMs);
  CHECK(device.arbiter.used_ns(1) >= 2'000 * kMs);
  device.tenants[2].done_ns = 0;
  device.run(20'000 * kMs);
  CHECK(device.tenants[2].done_ns >= 12'000 * kMs);
  device.arbiter.leave(1);
  device.tenants.erase(1);
  device.run(100 * kMs);
  CHECK(device.arbiter.turn(2) == Turn::kOpen);
}

}  // namespace
}  // namespace farcall::server
