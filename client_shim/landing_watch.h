// LandingWatch: takes what has landed when no call of the program does.
//
//   if (!watch.begin()) …wait for the copy instead…
//
// Threads that wait for an answer receive notices on the way. A program that waits for none, and
// looks at its memory, or frees it, needs somebody else: a small thread, which now and then takes
// what has arrived, but only while copies are under way, and never waits for more.
// Owner: one per client; leaked with it.  Threads: any.  The thread starts at the first need and
// blocks every signal.
#pragma once
#include <atomic>
#include <condition_variable>

#include "client_shim/landings.h"
#include "client_shim/receiver.h"

namespace farcall::shim {

class LandingWatch {
 public:
  LandingWatch(Landings& landings, Receiver& receiver) : landings_(landings), receiver_(receiver) {}

  // After Landings::expect and before the call is posted. False when there is no thread to be had.
  bool begin();

 private:
  struct State {
    bool started = false;
    bool failed = false;
    bool parked = false;
  };
  void run();

  Landings& landings_;
  Receiver& receiver_;
  std::atomic<bool> awake_{false};
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace farcall::shim
