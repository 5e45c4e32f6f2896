#include "client_shim/flusher.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <ctime>

namespace farcall::shim {
namespace {

constexpr long kPauseMinNs = 20'000;
constexpr long kPauseMaxNs = 1'000'000;
constexpr int kIdleLooksMax = 16;

}  // namespace

bool start_quiet_thread(void* (*body)(void*), void* argument) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  // What a thread does itself; blocked, it would end the process. A function of the program may
  // touch a page that is to be fetched first (faults.h).
  for (int own : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) ::sigdelset(&all, own);
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

void Flusher::arm() {
  if (armed_.exchange(true, std::memory_order_relaxed)) return;
  auto state = state_.lock();
  if (!state->started) {
    auto body = [](void* self) -> void* {
      static_cast<Flusher*>(self)->run();
      return nullptr;
    };
    // Without a thread the next call sends what gathered: later, but nothing is lost.
    state->started = start_quiet_thread(body, this);
  }
  state->woken = true;
  changed_.notify_one();
}

bool Flusher::watch() {
  long pause_ns = kPauseMinNs;
  for (int idle = 0; idle < kIdleLooksMax;) {
    timespec pause{0, pause_ns};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    const bool found = session_.has_gathered();
    if (found && !session_.flush().ok()) return false;
    idle = found ? 0 : idle + 1;
    pause_ns = found ? kPauseMinNs : std::min(2 * pause_ns, kPauseMaxNs);
  }
  return true;
}

void Flusher::run() {
  // The default lets a sleep of 20 µs last 70.
  ::prctl(PR_SET_TIMERSLACK, 1000);
  for (;;) {
    {
      auto state = state_.lock();
      state.wait(changed_, [](State& now) { return now.woken; });
      state->woken = false;
    }
    if (!watch()) return;
    armed_.store(false, std::memory_order_relaxed);
    // flush() takes the link's lock in any case. A post that came before this saw `armed`, and is
    // sent here; one that comes after it sees that `armed` has fallen.
    if (!session_.flush().ok()) return;
  }
}

}  // namespace farcall::shim
