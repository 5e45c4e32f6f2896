// How many hostile inputs a test makes, and of what: few in every run, a million where one asks.
//
//   for (unsigned i = 0; i < hostile_inputs(); ++i) …      // FARCALL_BATTERY, or 500
//   Chance chance;  chance.below(6);  chance.bits();
//
// tools/figures sets FARCALL_BATTERY and writes what came of it to security/FIGURES.md.
// Owner: plain values.  Threads: any.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <random>

namespace farcall {

inline unsigned hostile_inputs() {
  const char* asked = std::getenv("FARCALL_BATTERY");
  return asked == nullptr ? 500 : static_cast<unsigned>(std::strtoul(asked, nullptr, 10));
}

// The same numbers in every run, so that what fails once fails again.
class Chance {
 public:
  std::uint64_t bits() { return engine_(); }
  std::uint64_t below(std::uint64_t end) { return engine_() % end; }

 private:
  std::mt19937_64 engine_{1};
};

}  // namespace farcall
