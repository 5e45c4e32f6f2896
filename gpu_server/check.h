// The small things around a supervisor: addresses, files, and what --check says.
//
//   FARCALL_TRY(parse_address("0.0.0.0:7717", &options));
//   bool fine = check(options);                   // prints a report
//
// Threads: one.
#pragma once
#include <string>

#include "gpu_server/supervisor.h"

namespace farcall::server {

// "host:port" or "[::1]:port" into options. Errors: kUnsupported with what is wrong.
Status parse_address(const std::string& text, SupervisorOptions* options);

// Fills in farcall-worker beside the running program when no path is given, and checks that it can
// be run. Errors: kNotFound, kSystem.
Status find_worker(WorkerProcess::Command* command);

// The port and a line feed, all at once: whoever sees the file sees the whole port.
Status write_port_file(const std::string& path, std::uint16_t port);

// Prints to stdout what a server with these options would offer; false when it could not serve.
// Loads the driver into this process, which a serving supervisor never does.
bool check(const SupervisorOptions& options);

}  // namespace farcall::server
