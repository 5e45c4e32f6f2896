// AdaptiveWait: how long to look before sleeping. Waking a sleeping thread costs 20 - 40 µs;
// looking for ever burns a core that the other end may need.
//
//   if (wait_.spin([&] { return ready(); })) return;    // else block
//
// Spins up to 50 µs. After 3 spins in a row that saw nothing it blocks 64 times without spinning,
// then probes once. Measured best in every placement of two threads on two cores; sched_yield was
// up to 600 times worse beside a busy process.  Threads: one.
#pragma once
#include "transport/base/function_ref.h"

namespace farcall::link {

class AdaptiveWait {
 public:
  // True when `ready` became true; false when the caller should block now.
  bool spin(FunctionRef<bool()> ready);

 private:
  int failed_ = 0;       // spins in a row that saw nothing
  int blocks_left_ = 0;  // waits that go straight to sleep
};

}  // namespace farcall::link
