// What a worker's sandbox is on this machine: found out by a worker that confines itself.
//
//   Result<SandboxReport> report = try_sandbox(options.worker);
//   FARCALL_TRY(log_sandbox(options.worker, report));      // once, when a server starts
//
// It is started as any client's is, loads the driver, and tells instead of serving.  Threads: any.
#pragma once
#include "gpu_server/worker_process.h"

namespace farcall::server {

// Errors: those of WorkerProcess::spawn; kSystem with how it ended when it told nothing.
Result<security::SandboxReport> try_sandbox(WorkerProcess::Command command);

// A warning for each gap, with what it means; --sandbox off is one.
// Errors: kUnsupported with the first gap where the sandbox is to be strict.
Status log_sandbox(const WorkerProcess::Command& command,
                   const Result<security::SandboxReport>& report);

// The same for people, to standard output; false where the server would not start.
bool print_sandbox(const WorkerProcess::Command& command,
                   const Result<security::SandboxReport>& report);

}  // namespace farcall::server
