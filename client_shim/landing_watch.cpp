#include "client_shim/landing_watch.h"

#include <algorithm>
#include <ctime>

#include "client_shim/flusher.h"

namespace farcall::shim {
namespace {

constexpr long kNapNsMin = 100'000;
constexpr long kNapNsMax = 1'000'000;
// So many naps without anything under way before it sleeps for good: a program that copies and
// waits in a loop does not wake it each time.
constexpr int kIdleNaps = 20;

}  // namespace

bool LandingWatch::begin() {
  // Sequentially consistent, as in run(): either this sees that the thread sleeps, or the thread,
  // which looks once more after saying so, sees the landing.
  if (awake_.load(std::memory_order_seq_cst)) return true;
  auto state = state_.lock();
  if (state->failed) return false;
  if (!state->started) {
    auto body = [](void* self) -> void* {
      static_cast<LandingWatch*>(self)->run();
      return nullptr;
    };
    state->started = start_quiet_thread(body, this);
    state->failed = !state->started;
  }
  if (state->parked) changed_.notify_one();
  return state->started;
}

void LandingWatch::run() {
  for (;;) {
    awake_.store(true, std::memory_order_seq_cst);
    long nap_ns = kNapNsMin;
    for (int idle = 0; idle < kIdleNaps; idle = landings_.any() ? 0 : idle + 1) {
      timespec nap{0, nap_ns};
      ::clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
      bool landed = landings_.any() && receiver_.drain();
      nap_ns = landed ? kNapNsMin : std::min(2 * nap_ns, kNapNsMax);
    }
    awake_.store(false, std::memory_order_seq_cst);
    auto state = state_.lock();
    state->parked = true;
    state.wait(changed_, [this](const State&) { return landings_.any(); });
    state->parked = false;
  }
}

}  // namespace farcall::shim
