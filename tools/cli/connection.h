// Connection settings: completing what the flags left open, and handing them to a program.
//
//   FARCALL_TRY(complete(&connection));
//   export_environment(connection);     // FARCALL_SERVER, FARCALL_CERT, …
//
// Order: flag, environment variable, ~/.config/farcall/config.toml (or $XDG_CONFIG_HOME).
// Threads: one.
#pragma once
#include <memory>
#include <string>

#include "tools/cli/commands.h"
#include "tools/cli/places.h"
#include "transport/base/status.h"
#include "transport/link/dial.h"

namespace farcall::cli {

// The configuration file's keys are server, cert, key, ca, name, deny-list, lease, renew-from,
// lanes, compress and spread, all strings.
// Errors: kUnsupported (unreadable file, unknown key), kNotFound (a setting is still missing; the
// text names flag, variable and file).
Status complete(Connection* connection);

// A session to the server. hello: may be null.  Errors: as link::dial, beginning "cannot connect".
Result<std::unique_ptr<link::Session>> connect(const Connection& connection,
                                               link::HelloInfo* hello);

// Opens a session to each of the servers, one after the other, and closes it again, so that a wrong
// certificate or a dead server is told in words before a program starts.
// Errors: as link::dial, with several servers beginning with the one; kUnsupported for a list that
// is none.
Status try_connection(const Connection& connection);

// Sets FARCALL_* in this process's environment, paths made absolute, for exec or dlopen of the
// shim. Puts the shim in front of LD_PRELOAD, and NVML's beside it where that was built.
void export_environment(const Connection& connection, const Places& places);

}  // namespace farcall::cli
