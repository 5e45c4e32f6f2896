#include "transport/link/crypto_pool.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <system_error>

#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace farcall::link {
namespace {

unsigned threads_for_this_machine() {
  if (const char* asked = ::secure_getenv("FARCALL_CRYPTO_THREADS"); asked && *asked != 0) {
    char* end = nullptr;
    const long threads = std::strtol(asked, &end, 10);
    if (*end == 0) {
      return static_cast<unsigned>(std::clamp(threads, 0L, long{limits::kCryptoThreadsMax}));
    }
    FARCALL_LOG_WARN("FARCALL_CRYPTO_THREADS=%s is no number; using this machine's", asked);
  }
  const unsigned cores = std::thread::hardware_concurrency();
  return cores >= 8 ? 2 : cores >= 3 ? 1 : 0;
}

// Never destroyed: a program's last copies may come after its static objects are gone, and in the
// child of a fork the parent's pool has neither threads nor a lock to be trusted. No lock here,
// because a fork could catch another thread inside it.
struct Place {
  CryptoPool pool{threads_for_this_machine()};
  pid_t process = ::getpid();
};
std::atomic<Place*> g_place{nullptr};

}  // namespace

CryptoPool::CryptoPool(unsigned threads) {
  // A program's signals are for its own threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    while (helpers_.size() < threads) helpers_.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    // Fewer helpers than asked for: callers do more themselves.
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  threads_ = static_cast<unsigned>(helpers_.size());
}

CryptoPool::~CryptoPool() {
  state_.lock()->stop = true;
  work_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

CryptoPool& CryptoPool::here() {
  Place* place = g_place.load(std::memory_order_acquire);
  while (place == nullptr || place->process != ::getpid()) {
    auto made = std::make_unique<Place>();
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
  return {threads_, state->by_helpers, state->by_callers};
}

void CryptoPool::submit(Job& job) {
  if (threads_ == 0) return;
  {
    auto state = state_.lock();
    job.state_ = Job::State::kWaiting;
    state->waiting.push_back(&job);
  }
  work_.notify_one();
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
    job->work();
    {
      auto state = state_.lock();
      job->state_ = Job::State::kDone;
    }
    done_.notify_all();
  }
}

}  // namespace farcall::link
