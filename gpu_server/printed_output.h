// PrintedOutput: what kernels print, on its way to the program that launched them.
//
//   auto printed = PrintedOutput::capture(STDOUT_FILENO, session);    // the worker, at its start
//   printed.value()->forward();                   // all that was printed so far is on the link now
//
// A driver writes a kernel's printf to the standard output of its process, which here is a worker
// that has no terminal and must have no log of tenants' bytes. So the descriptor becomes a pipe of
// one page (which wiped_end.h overwrites), and a thread empties it into a ring of
// limits::kPrintedBytesMax; when it is full, the oldest goes, as in CUDA's own buffer. forward()
// sends what is there as device_output frames (transport/api/hand.h). The executor calls it only
// ahead of an answer that the client waits for, when CUDA would flush: a client that never receives
// can thus never hold up the thread that leads.
//
// Owner: the worker; one per descriptor.  Threads: any.
#pragma once
#include <memory>
#include <mutex>
#include <span>
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
  // The same for two of them, with one system call when there is nothing.
  static void forward(PrintedOutput& out, PrintedOutput& err);

 private:
  PrintedOutput(link::Session& session, std::uint32_t stream);
  struct Ring {
    std::size_t begin = 0;
    std::size_t used = 0;
  };
  void serve();
  // Everything in the pipe into the ring.
  void gather();
  bool has_gathered();
  void put(std::span<const std::byte> bytes);
  std::size_t take(std::span<std::byte> to);

  link::Session& session_;
  const std::uint32_t stream_;
  Fd pipe_;               // our end, not blocking
  Fd stop_;               // eventfd
  std::mutex gathering_;  // ring_, memory_ and piece_in_
  Ring ring_;
  SecureBuffer memory_;
  SecureBuffer piece_in_;
  std::mutex sending_;  // piece_out_; taken before gathering_, held while the link is busy
  SecureBuffer piece_out_;
  std::thread thread_;
};

}  // namespace farcall::server
