// PrintedOutput: what kernels print, on its way to the program that launched them.
//
//   auto printed = PrintedOutput::capture(STDOUT_FILENO, session);    // the worker, at its start
//   printed.value()->forward();                   // all that was printed so far is on the link now
//
// A driver writes a kernel's printf to the standard output of its process, which here is a worker
// that has no terminal and must have no log of tenants' bytes. So the descriptor becomes a pipe,
// and what comes out of it is sent as device_output frames (transport/api/hand.h). The executor
// calls forward() before it answers a call that waits, because CUDA flushes at such calls; in
// between a thread keeps the pipe from filling up. Owner: the worker; one per process.  Threads:
// any.
#pragma once
#include <memory>
#include <mutex>
#include <thread>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/session.h"

namespace farcall::server {

class PrintedOutput {
 public:
  // descriptor  1 or 2 in a worker; replaced by the pipe for good
  // Errors: kSystem.
  static Result<std::unique_ptr<PrintedOutput>> capture(int descriptor, link::Session& session);
  // Stops forwarding. Whatever is printed afterwards is thrown away with the pipe.
  ~PrintedOutput();

  // Sends what has been printed, flushing C stdio first.
  void forward();

 private:
  PrintedOutput(link::Session& session, std::uint32_t stream);
  void serve();
  void drain();

  link::Session& session_;
  const std::uint32_t stream_;
  Fd pipe_;  // our end, not blocking
  Fd stop_;  // eventfd
  SecureBuffer room_;
  std::mutex reading_;  // whoever holds it sends what it read before the next one reads
  std::thread thread_;
};

}  // namespace farcall::server
