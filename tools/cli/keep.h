// Keeping a client's certificate fresh while its program runs: `farcall ca keep`, and what
// `farcall run --renew-from` starts beside the program.
//
//   FARCALL_TRY(keep_renewing(connection));      // then exec the program
//
// A process of its own, because the program's is not ours: it renews at half life, replaces the
// files, and shows the new certificate to the servers, whose sessions would end with the old one.
// Threads: one.
#pragma once
#include "tools/cli/commands.h"
#include "transport/base/status.h"

namespace farcall::cli {

// Starts `farcall ca keep` for as long as this process lives, and not as a child of it: a program
// that waits for its children must not meet another. The connection is complete.
// Errors: kUnsupported (no place), kSystem.
Status keep_renewing(const Connection& connection);

}  // namespace farcall::cli
