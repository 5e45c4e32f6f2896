// Switches: every optimisation can be turned off, so that a doubt about it is settled in a minute.
//
//   FARCALL_OFF=spin,module-cache farcall run -- ./app      # on the client
//   farcall-server --off spin …                             # on the server, for its workers too
//
//   if (is_on(Switch::kSpin)) …
//
// Results never depend on a switch; only time and bytes do. The test suite runs with all on, all
// off, and each one off. Names and meanings: switches.def.
// Owner: the process; set once, before the first session.  Threads: any.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall {

enum class Switch : unsigned {
#define SWITCH(name, word, saves) name,
#include "transport/base/switches.def"
#undef SWITCH
  kCount
};
static_assert(static_cast<unsigned>(Switch::kCount) <= 32);

extern std::atomic<std::uint32_t> g_switches_off;  // bit = Switch
inline bool is_on(Switch which) {
  return (g_switches_off.load(std::memory_order_relaxed) >> static_cast<unsigned>(which) & 1) == 0;
}

// Sets which are off; all others are on.  names: "spin,gather", "all", or "" for none.
// Errors: kUnsupported, naming the unknown word and the known ones; then nothing changes.
Status turn_off(std::string_view names);
// The same from FARCALL_OFF.
Status turn_off_from_environment();
// One line for each switch, "  spin  look for …", for --help texts.
std::string switches_help();

}  // namespace farcall
