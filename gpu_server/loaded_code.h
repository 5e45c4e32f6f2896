// What a process runs: the files that it has mapped to execute, as the kernel names them.
//
//   FARCALL_TRY(send_code(kSupervisorSocket, own_code()));                   // a worker
//   Result<std::vector<std::string>> loaded = receive_code(socket, deadline);   // its supervisor
//
// A worker tells once its driver is loaded and before it confines itself and hears of a client, so
// that nobody has had a chance to make it lie. Asked of the kernel (/proc/self/maps) and not of the
// dynamic loader, since a driver may map code without it.  Threads: any.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/status.h"

namespace farcall::server {

// The paths in the text of a maps file, in their order, each once. What has no file (the kernel's
// own pages, memory that a program wrote code to) has no path.
std::vector<std::string> code_in(std::string_view maps);
// Of this process.  Errors: kSystem, kOverQuota.
Result<std::vector<std::string>> own_code();

// Errors: kClosed, kTimeout, kSystem.
Status send_code(int socket, const Result<std::vector<std::string>>& code);
// Errors: kClosed, kTimeout, kMalformed, kSystem; else the sender's own.
Result<std::vector<std::string>> receive_code(int socket, Deadline deadline);

}  // namespace farcall::server
