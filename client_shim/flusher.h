// Flusher: sends what a thread posted and then left lying, 20 µs later, 1 ms at most.
//
//   session.post(head, link::Flush::kSoon, encode);
//   flusher.posted();
//
// Queued calls gather in the link's record so that many share one seal and one send. The first call
// after a pause goes out at once; those behind it gather. The next call usually sends them; if none
// comes, this does, on a small thread. It looks every 20 µs while it finds something to send, more
// and more rarely while it does not (a program that waits after each launch leaves nothing, and
// each look takes 20 µs from the threads of a machine with two cores), and after some 10 ms of that
// it sleeps until the next post.
// Owner: one per client; leaked with it.  Threads: any.  The thread starts at the first need,
// blocks every signal (they belong to the program) and ends when the session closes.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>

#include "transport/base/guarded.h"
#include "transport/link/session.h"

namespace farcall::shim {

class Flusher {
 public:
  explicit Flusher(link::Session& session) : session_(session) {}

  // A frame was posted that may gather.
  void posted() {
    // The link's lock orders this: either it finds what run() did before its last look, or that
    // look finds the frame.
    if (session_.has_gathered() && !armed_.load(std::memory_order_relaxed)) arm();
  }

 private:
  void arm();
  void run();
  // Looks and sends until there has been nothing to send for long. False when the session closed.
  bool watch();

  link::Session& session_;
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
