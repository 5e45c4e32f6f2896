// Process: the one session a program has, from cuInit to its end, across fork.
//
//   CUresult result = open_client();          // cuInit
//   Client* client = current_client();        // null before cuInit, and in the child of a fork
//
// The C API of CUDA has no place for a session object, so this is the one global of the shim. It is
// leaked on purpose: see client.h.
// Threads: any.  Nothing here prints, exits or installs a handler; one pthread_atfork entry is
// made.
#pragma once
#include <memory>

#include "client_shim/client.h"
#include "client_shim/settings.h"

namespace farcall::shim {

// Null before a cuInit of this process has succeeded.
Client* current_client();

// Opens the session unless there is one.
//   CUDA_ERROR_NO_DEVICE         FARCALL_SERVER is not set, or CUDA_VISIBLE_DEVICES hides every
//                                device
//   CUDA_ERROR_SYSTEM_NOT_READY  it is set, and no session came about: the reason is in the log and
//                                in the file FARCALL_STATUS names
CUresult open_client();

// A session of its own from this process's settings, for a caller that will close it again.
//   settings       what it was made from
//   is_configured  false when FARCALL_SERVER is not set; else untouched
Result<std::unique_ptr<link::Session>> connect_session(Settings* settings, bool* is_configured);

// What driver version to tell: the server's, at most what this shim's table speaks. Opens the
// session when it can, because cudart asks this before cuInit and must get the same number later.
int driver_version();

// How a session is made from settings; tests put a loopback session in its place.
using Connect = Result<std::unique_ptr<link::Session>> (*)(const Settings&);
void set_connect_for_test(Connect connect, const Settings& settings);
// Forgets the session, as the child of a fork does, and leaks it.
void forget_client_for_test();

}  // namespace farcall::shim
