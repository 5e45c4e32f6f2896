// Process: the session a program has with its server, from cuInit to its end, across fork; or the
// sessions with each of several servers.
//
//   CUresult result = open_client();          // cuInit
//   Client* client = current_client();        // null before cuInit, and in the child of a fork
//
// The C API of CUDA has no place for a session object, so this is the one global of the shim. It is
// leaked on purpose: see client.h.
// Threads: any.  Nothing here prints, exits or installs a handler; one pthread_atfork entry is
// made.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "client_shim/client.h"
#include "client_shim/settings.h"
#include "transport/base/function_ref.h"

namespace farcall::shim {

// The session, if there is one: also what cuDriverGetVersion opened, before cuInit. With several
// servers the one that this call is for, see fleet.h.
Client* current_client();
// The same, and null until a cuInit of this process has succeeded: whom the driver API serves.
Client* ready_client();

class Fleet;
// Null with one server.
Fleet* current_fleet();
inline std::atomic<bool> g_has_several_servers{false};
inline bool has_several_servers() { return g_has_several_servers.load(std::memory_order_relaxed); }

// All clients of this process.
void for_each_client(FunctionRef<void(Client&)> visit);
// Logs what part of the bytes sent each server got, where FARCALL_SPREAD is on (spread.h).
void tell_shares();
// Whether this client is one of them: not after a fork.
bool is_open(const Client& client);

// Opens a session with every server unless there are such.
//   CUDA_ERROR_NO_DEVICE         FARCALL_SERVER is not set, or CUDA_VISIBLE_DEVICES hides every
//                                device
//   CUDA_ERROR_SYSTEM_NOT_READY  it is set, and no session with one of its servers came about: the
//                                reason is in the log and in the file FARCALL_STATUS names
CUresult open_client();
// The same for cuInit, whose success opens the driver API.
CUresult initialize_client();

// What this process's settings say of each of its servers; at least one.
//   is_configured  false when FARCALL_SERVER is not set; else untouched
Result<std::vector<Settings>> settings_of_servers(bool* is_configured);
// A session from these settings, for a caller that will close it again.
Result<std::unique_ptr<link::Session>> connect_session(const Settings& settings);

// What driver version to tell: the server's, at most what this shim's table speaks. Opens the
// session when it can, because cudart asks this before cuInit and must get the same number later.
int driver_version();

// How a session is made from settings; tests put a loopback session in its place.
using Connect = Result<std::unique_ptr<link::Session>> (*)(const Settings&);
void set_connect_for_test(Connect connect, const Settings& settings);
// Forgets the session, as the child of a fork does, and leaks it.
void forget_client_for_test();

}  // namespace farcall::shim
