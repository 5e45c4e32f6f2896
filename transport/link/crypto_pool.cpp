#include "transport/link/crypto_pool.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace farcall::link {
namespace {

struct Threads {
  unsigned first;
  unsigned most;
};

Threads threads_for_this_machine() {
  if (const char* asked = ::secure_getenv("FARCALL_CRYPTO_THREADS"); asked && *asked != 0) {
    char* end = nullptr;
    const long threads = std::strtol(asked, &end, 10);
    if (*end == 0) {
      const auto fixed =
          static_cast<unsigned>(std::clamp(threads, 0L, long{limits::kCryptoThreadsMax}));
      return {fixed, fixed};
    }
    FARCALL_LOG_WARN("FARCALL_CRYPTO_THREADS=%s is no number; using this machine's", asked);
  }
  const unsigned cores = std::thread::hardware_concurrency();
  if (cores < 3) return {0, 0};
  return {cores >= 8 ? 2u : 1u, std::clamp(cores / 2, 1u, limits::kCryptoThreadsMax)};
}

// Never destroyed: a program's last copies may come after its static objects are gone, and in the
// child of a fork the parent's pool has neither threads nor a lock to be trusted. No lock here,
// because a fork could catch another thread inside it.
struct Place {
  explicit Place(Threads threads) : pool(threads.first, threads.most) {}
  CryptoPool pool;
  pid_t process = ::getpid();
};
std::atomic<Place*> g_place{nullptr};

}  // namespace

bool CryptoPool::start_one(State& state) {
  // A program's signals are for its own threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    state.helpers.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    started = false;  // fewer helpers than asked for: callers do more themselves
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  threads_.store(static_cast<unsigned>(state.helpers.size()), std::memory_order_relaxed);
  return started;
}

CryptoPool::CryptoPool(unsigned threads, unsigned most) {
  auto state = state_.lock();
  state->load = CryptoLoad(std::max(threads, most));
  while (state->helpers.size() < threads && start_one(*state)) {
  }
}

CryptoPool::~CryptoPool() {
  std::vector<std::thread> helpers;
  {
    auto state = state_.lock();
    state->stop = true;
    helpers = std::move(state->helpers);
  }
  work_.notify_all();
  for (std::thread& helper : helpers) helper.join();
}

CryptoPool& CryptoPool::here() {
  Place* place = g_place.load(std::memory_order_acquire);
  while (place == nullptr || place->process != ::getpid()) {
    auto made = std::make_unique<Place>(threads_for_this_machine());
    if (g_place.compare_exchange_strong(place, made.get(), std::memory_order_acq_rel)) {
      place = made.release();
    }
  }
  return place->pool;
}

CryptoPool::Counts CryptoPool::counts_here() {
  Place* place = g_place.load(std::memory_order_acquire);
  return place != nullptr && place->process == ::getpid() ? place->pool.counts() : Counts{};
}

CryptoPool::Counts CryptoPool::counts() {
  auto state = state_.lock();
  return {threads(), state->by_helpers, state->by_callers, state->load.mean(),
          state->load.alerts()};
}

void CryptoPool::submit(Job& job) {
  if (threads() == 0) return;
  CryptoNeed need = CryptoNeed::kNone;
  {
    const std::int64_t now_ns = system_clock().now_ns();
    auto state = state_.lock();
    job.state_ = Job::State::kWaiting;
    state->waiting.push_back(&job);
    need = state->load.look(state->busy_ns, threads(), now_ns);
    if (need == CryptoNeed::kMore) start_one(*state);
  }
  work_.notify_one();
  if (need == CryptoNeed::kMore) {
    FARCALL_LOG_INFO("crypto threads are busy for more than 70 %% of the time: there are %u now",
                     threads());
  } else if (need == CryptoNeed::kAlert) {
    FARCALL_LOG_WARN(
        "all %u crypto threads are busy for more than 70 %% of the time, and there are no more for "
        "this machine: sealing may hold payloads up (FARCALL_CRYPTO_THREADS, more cores, or "
        "another "
        "server)",
        threads());
  }
}

void CryptoPool::finish(Job& job) {
  {
    auto state = state_.lock();
    if (job.state_ == Job::State::kRunning || job.state_ == Job::State::kDone) {
      state.wait(done_, [&job](State&) { return job.state_ == Job::State::kDone; });
      job.state_ = Job::State::kIdle;
      return;
    }
    std::erase(state->waiting, &job);
    ++state->by_callers;
    job.state_ = Job::State::kIdle;
  }
  job.work();
}

void CryptoPool::serve() {
  for (;;) {
    Job* job = nullptr;
    {
      auto state = state_.lock();
      state.wait(work_, [](State& now) { return now.stop || !now.waiting.empty(); });
      if (state->stop) return;
      job = state->waiting.front();
      state->waiting.pop_front();
      job->state_ = Job::State::kRunning;
      ++state->by_helpers;
    }
    const std::int64_t begun_ns = system_clock().now_ns();
    job->work();
    const std::int64_t worked_ns = system_clock().now_ns() - begun_ns;
    {
      auto state = state_.lock();
      state->busy_ns += static_cast<std::uint64_t>(worked_ns);
      job->state_ = Job::State::kDone;
    }
    done_.notify_all();
  }
}

}  // namespace farcall::link
