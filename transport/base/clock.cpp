#include "transport/base/clock.h"

#include <ctime>

namespace farcall {
namespace {

struct MonotonicClock final : Clock {
  std::int64_t now_ns() const override {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
};

}  // namespace

const Clock& system_clock() {
  // Leaked: the shim answers calls from atexit handlers that run after static destructors.
  static const Clock* const clock = new MonotonicClock;
  return *clock;
}

}  // namespace farcall
