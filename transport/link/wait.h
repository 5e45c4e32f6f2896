// AdaptiveWait: how long to look before sleeping. Waking a sleeping thread costs 20 - 40 µs;
// looking for ever burns a core that the other end may need.
//
//   if (wait_.spin([&] { return ready(); })) return;
//   …block…;  wait_.woke();
//
// Spins up to 50 µs. After 3 spins in a row that saw nothing it blocks 64 times without spinning,
// then probes once; or earlier, after a sleep so short that spinning would have seen its end: so a
// pause of the program costs one wake-up, and not the 64 of what comes after it. Measured best in
// every placement of two threads on two cores; sched_yield was up to 600 times worse beside a busy
// process.  Threads: one.
#pragma once
#include <cstdint>

#include "transport/base/clock.h"
#include "transport/base/function_ref.h"

namespace farcall::link {

class AdaptiveWait {
 public:
  explicit AdaptiveWait(const Clock& clock = system_clock()) : clock_(clock) {}

  // True when `ready` became true; false when the caller should block now.
  // Look at what a sleep brought without it: it takes what is there at once for a spin's success.
  bool spin(FunctionRef<bool()> ready);
  // After blocking: something has come. Leaving it out only costs speed.
  void woke();

 private:
  const Clock& clock_;
  int failed_ = 0;                    // spins in a row that saw nothing
  int blocks_left_ = 0;               // waits that go straight to sleep
  std::int64_t asleep_since_ns_ = 0;  // when such a wait began
};

}  // namespace farcall::link
