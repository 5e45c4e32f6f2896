// What farcall-server --check says of the manifest, and what a worker runs here.
//
//   bool fine = print_code(options.code, worker);       // a line, and one for each finding
//   Result<std::vector<std::string>> paths = code_of_worker(worker);
//
// Threads: one.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "gpu_server/worker_process.h"
#include "security/code_integrity.h"
#include "transport/base/status.h"

namespace farcall::server {

// Starts a worker that loads the driver, tells and ends.  Errors: those of WorkerProcess::spawn and
// receive_code; kSystem where it ended without a word, as where it cannot load the driver.
Result<std::vector<std::string>> code_of_worker(WorkerProcess::Command command);

// False when a server with these options would start no session.
bool print_code(const std::optional<security::CodeOptions>& options,
                const WorkerProcess::Command& worker);

}  // namespace farcall::server
