#include "gpu_server/relief.h"

#include <algorithm>
#include <ctime>
#include <system_error>
#include <utility>

namespace farcall::server {
namespace {

constexpr long kLookNs = 1'000'000;
constexpr int kStillMax = 16;  // looks without a change after which the watch sleeps, or slows down
constexpr long kSlowLooks = 8;

}  // namespace

Relief::Relief(WaiterPool& pool, std::function<bool()> is_needed, std::function<void()> lead)
    : pool_(pool), is_needed_(std::move(is_needed)), lead_(std::move(lead)) {}

void Relief::offer() {
  // Sequentially consistent, as is serve(): either this sees that the watch has parked, or the
  // watch, which looks once more after that, sees this wait.
  const std::uint64_t turn = turn_.fetch_add(1, std::memory_order_seq_cst) + 1;
  std::atomic_ref(mine_).store(turn, std::memory_order_relaxed);
  if (parked_.load(std::memory_order_seq_cst)) wake();
}

// A leader that was relieved may read what its successor offered since, and take that instead: the
// successor then finds its own turn gone, so there is one leader all the same.
bool Relief::take_back() { return claim(std::atomic_ref(mine_).load(std::memory_order_relaxed)); }

bool Relief::claim(std::uint64_t turn) {
  return turn_.compare_exchange_strong(turn, turn + 1, std::memory_order_acq_rel);
}

void Relief::wake() {
  auto state = state_.lock();
  if (state->stop) return;
  if (!state->watch.joinable()) {
    try {
      state->watch = std::thread([this] { serve(); });
    } catch (const std::system_error&) {
      return;  // without a watch other client threads wait as well: slower, never wrong
    }
  }
  state->parked = false;
  parked_.store(false, std::memory_order_relaxed);
  changed_.notify_one();
}

bool Relief::look() {
  const std::uint64_t now = turn_.load(std::memory_order_seq_cst);
  const bool is_waiting = now % 2 == 1;
  still_ = now == std::exchange(seen_, now) ? still_ + 1 : 0;
  if (is_waiting && still_ > 0 && asked_ != now && is_needed_()) {
    // The thread that comes claims the lead, not this one: there may be no thread to be had.
    const bool is_coming = pool_.run([this, now] {
      if (claim(now)) lead_();
    });
    if (is_coming) asked_ = now;
  }
  return is_waiting || still_ < kStillMax;
}

void Relief::serve() {
  for (;;) {
    while (look()) {
      timespec pause{0, kLookNs * (still_ < kStillMax ? 1 : kSlowLooks)};
      ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
      if (state_.lock()->stop) return;
    }
    parked_.store(true, std::memory_order_seq_cst);
    auto state = state_.lock();
    // A wait that began just before saw no parked watch: look again.
    if (turn_.load(std::memory_order_seq_cst) == seen_) {
      state->parked = true;
      state.wait(changed_, [](const State& now) { return !now.parked || now.stop; });
    }
    parked_.store(false, std::memory_order_relaxed);
    still_ = 0;
    if (state->stop) return;
  }
}

void Relief::stop() {
  std::thread watch;
  {
    auto state = state_.lock();
    state->stop = true;
    watch.swap(state->watch);
  }
  changed_.notify_one();
  if (watch.joinable()) watch.join();
}

}  // namespace farcall::server
