#include "gpu_server/relief.h"

#include <doctest/doctest.h>

namespace farcall::server {
namespace {

// Counts who led, and lets a test wait for it.
struct Leads {
  std::atomic<int> count{0};
  void operator()() {
    ++count;
    count.notify_all();
  }
};

TEST_CASE("a leader that waits while nothing arrives stays the leader") {
  WaiterPool pool;
  Leads leads;
  std::atomic<int> looks{0};
  auto nothing = [&] {
    ++looks;
    looks.notify_all();
    return false;
  };
  Relief relief(pool, nothing, [&] { leads(); });
  relief.offer();
  looks.wait(0);  // it did last long enough to be looked at
  CHECK(relief.take_back());
  relief.stop();
  CHECK(leads.count == 0);
}

TEST_CASE("a leader whose wait holds something up is relieved, each time anew") {
  WaiterPool pool;
  Leads leads;
  Relief relief(
      pool, [] { return true; }, [&] { leads(); });
  for (int led = 0; led < 3; ++led) {
    relief.offer();
    leads.count.wait(led);
    CHECK_FALSE(relief.take_back());
  }
  relief.stop();
  pool.wait_idle();
  CHECK(leads.count == 3);
}

TEST_CASE("one of two takes the lead, however they meet") {
  WaiterPool pool;
  Leads leads;
  int stayed = 0;
  Relief relief(
      pool, [] { return true; }, [&] { leads(); });
  constexpr int kWaits = 200;
  for (int i = 0; i < kWaits; ++i) {
    const int before = leads.count;
    relief.offer();
    // Every other wait lasts until somebody has come, if not longer.
    if (i % 2 == 0) leads.count.wait(before);
    if (relief.take_back()) ++stayed;
  }
  relief.stop();
  pool.wait_idle();
  CHECK(stayed + leads.count == kWaits);
  CHECK(leads.count >= kWaits / 2);
}

}  // namespace
}  // namespace farcall::server
