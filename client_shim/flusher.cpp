#include "client_shim/flusher.h"

#include <pthread.h>

#include <csignal>
#include <ctime>

namespace farcall::shim {

bool start_quiet_thread(void* (*body)(void*), void* argument) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  bool started = ::pthread_create(&thread, &attributes, body, argument) == 0;
  ::pthread_attr_destroy(&attributes);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

link::Flush Flusher::choose() {
  std::int64_t now = clock_.now_ns();
  if (now - last_sent_ns_.load(std::memory_order_relaxed) < kPauseNs) return link::Flush::kLater;
  last_sent_ns_.store(now, std::memory_order_relaxed);
  return link::Flush::kNow;
}

void Flusher::posted() {
  // Sequentially consistent, as is run(): either this sees that `armed_` has fallen, or run(),
  // which looks at `posts_` once more after that, sees this post.
  posts_.fetch_add(1, std::memory_order_seq_cst);
  if (armed_.exchange(true, std::memory_order_seq_cst)) return;
  auto state = state_.lock();
  if (!state->started) {
    state->started = true;
    start();
  }
  state->woken = true;
  changed_.notify_one();
}

void Flusher::start() {
  auto body = [](void* self) -> void* {
    static_cast<Flusher*>(self)->run();
    return nullptr;
  };
  // Without a thread the next call sends what gathered: later, but nothing is lost.
  if (!start_quiet_thread(body, this)) return;
}

void Flusher::run() {
  for (;;) {
    {
      auto state = state_.lock();
      state.wait(changed_, [](State& now) { return now.woken; });
      state->woken = false;
    }
    std::uint64_t seen = 0;
    do {
      seen = posts_.load(std::memory_order_acquire);
      timespec linger{0, kLingerNs};
      ::clock_nanosleep(CLOCK_MONOTONIC, 0, &linger, nullptr);
      if (!session_.flush().ok()) return;
      sent();
    } while (posts_.load(std::memory_order_acquire) != seen);
    armed_.store(false, std::memory_order_seq_cst);
    // A post between the last look and the disarming saw `armed` and woke nobody: send for it.
    if (posts_.load(std::memory_order_seq_cst) != seen && !session_.flush().ok()) return;
  }
}

}  // namespace farcall::shim
