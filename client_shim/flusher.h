// Flusher: sends what a thread posted and then left lying, about 20 µs later.
//
//   session.post(head, flusher.choose(), encode);
//   flusher.posted();
//
// Queued calls gather in the link's record so that many share one seal and one send. The first call
// after a pause goes out at once; those behind it gather. The next call usually sends them; if none
// comes, this does, on a small thread that sleeps while nothing is posted.
// Owner: one per client; leaked with it.  Threads: any.  The thread starts at the first need,
// blocks every signal (they belong to the program) and ends when the session closes.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>

#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/link/session.h"

namespace farcall::shim {

class Flusher {
 public:
  Flusher(link::Session& session, const Clock& clock) : session_(session), clock_(clock) {}

  // How the next queued frame should go out.
  link::Flush choose();
  // A frame was posted with kLater.
  void posted();
  // Everything posted so far is on the wire (a kNow went out).
  void sent() { last_sent_ns_.store(clock_.now_ns(), std::memory_order_relaxed); }

 private:
  static constexpr std::int64_t kPauseNs = 50'000;  // so long without a send counts as idle
  static constexpr std::int64_t kLingerNs = 20'000;
  void start();
  void run();

  link::Session& session_;
  const Clock& clock_;
  std::atomic<std::int64_t> last_sent_ns_{0};
  std::atomic<std::uint64_t> posts_{0};
  std::atomic<bool> armed_{false};
  struct State {
    bool started = false;
    bool woken = false;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
};

// Starts a detached thread with every signal blocked. False when the system has no room for one.
bool start_quiet_thread(void* (*body)(void*), void* argument);

}  // namespace farcall::shim
