// AllOn: every optimisation on for one test, whatever this run turns off (FARCALL_OFF).
//
//   TEST_CASE("one success makes it spin again") {
//     AllOn all_on;                              // the test is of the optimisation itself
//
// Owner: the test.  Threads: the test's; nothing else may be running.
#pragma once
#include "transport/base/switches.h"

namespace farcall::tests {

class AllOn {
 public:
  AllOn() : before_(g_switches_off.exchange(0)) {}
  ~AllOn() { g_switches_off.store(before_); }
  AllOn(const AllOn&) = delete;
  AllOn& operator=(const AllOn&) = delete;

 private:
  const std::uint32_t before_;
};

}  // namespace farcall::tests
