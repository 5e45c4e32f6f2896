// Switched: optimisations as a test needs them, whatever FARCALL_OFF says; put back at its end.
//
//   Switched all_on("");                 // for a test of what an optimisation saves
//   Switched off("skip-sync");
//
// Threads: one; nobody else may be in the middle of something that asks for a switch.
#pragma once
#include <doctest/doctest.h>

#include "transport/base/switches.h"

namespace farcall {

class Switched {
 public:
  // off: as for turn_off().
  explicit Switched(std::string_view off) : before_(g_switches_off.load()) {
    REQUIRE(turn_off(off).ok());
  }
  ~Switched() { g_switches_off.store(before_); }
  Switched(const Switched&) = delete;
  Switched& operator=(const Switched&) = delete;

 private:
  const std::uint32_t before_;
};

}  // namespace farcall
