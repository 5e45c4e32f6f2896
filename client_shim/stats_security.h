// The part of a session's report (stats.h) that says what its encryption cost.
//
//   report = with_security(stats.report(…), link::security_cost(session), seconds);
//
// Adds "security": records, bytes and processor seconds of sealing and opening, and what part of
// the session's time that is.  Threads: any; values.
#pragma once
#include <string>

#include "transport/link/security_cost.h"

namespace farcall::shim {

// report: a JSON object, as Stats::report() makes it.
//   seconds  that the session has run
std::string with_security(std::string report, const link::SecurityCost& cost, double seconds);

}  // namespace farcall::shim
