#include "transport/link/wait.h"

#include <doctest/doctest.h>

#include "tests/support/switched.h"

using namespace farcall::link;

namespace {

// How often `ready` was asked during one wait that never becomes ready.
int looks(AdaptiveWait& wait) {
  int asked = 0;
  CHECK_FALSE(wait.spin([&] {
    ++asked;
    return false;
  }));
  return asked;
}

}  // namespace

TEST_CASE("what is ready at once costs one look") {
  AdaptiveWait wait;
  int asked = 0;
  CHECK(wait.spin([&] { return ++asked == 1; }));
  CHECK(asked == 1);
}

TEST_CASE("after three vain spins it sleeps 64 times, probes once, and sleeps again") {
  AdaptiveWait wait;
  for (int i = 0; i < 3; ++i) looks(wait);
  for (int i = 0; i < 64; ++i) CHECK(looks(wait) == 1);
  looks(wait);  // the probe: how often it looks depends on the machine
  for (int i = 0; i < 64; ++i) CHECK(looks(wait) == 1);
}

TEST_CASE("one success makes it spin again") {
  farcall::Switched all_on("");
  AdaptiveWait wait;
  for (int i = 0; i < 3; ++i) looks(wait);
  for (int i = 0; i < 64; ++i) looks(wait);
  CHECK(wait.spin([] { return true; }));
  looks(wait);
  looks(wait);
  int asked = 0;
  CHECK(wait.spin([&] { return ++asked == 2; }));  // the second look is one only a spin takes
}

namespace {

struct TestClock : farcall::Clock {
  std::int64_t now_ns() const override { return ns += 1000; }
  mutable std::int64_t ns = 1'000'000;
};

}  // namespace

TEST_CASE("after a short sleep it spins again, after a long one it does not") {
  farcall::Switched all_on("");
  TestClock clock;
  AdaptiveWait wait(clock);
  for (int i = 0; i < 3; ++i) CHECK(looks(wait) > 1);
  CHECK(looks(wait) == 1);
  clock.ns += 200'000;
  wait.woke();
  CHECK(looks(wait) == 1);
  clock.ns += 50'000;
  wait.woke();
  // One spin to see, and if that was in vain, back to sleep.
  CHECK(looks(wait) > 1);
  clock.ns += 200'000;
  wait.woke();
  CHECK(looks(wait) == 1);
}

TEST_CASE("without spin no sleep is too short") {
  farcall::Switched off("spin");
  TestClock clock;
  AdaptiveWait wait(clock);
  for (int i = 0; i < 3; ++i) {
    CHECK(looks(wait) == 1);
    wait.woke();
  }
}
