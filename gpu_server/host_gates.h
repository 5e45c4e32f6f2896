// HostGates: where a stream waits while the client runs a host function.
//
//   HostGates::Gate* gate = gates.add({id, context, false});
//   driver.cuLaunchHostFunc(stream, HostGates::at_function, gate);
//   gates.await(call.head);                       // await_host_function: answered when one's turn
//   gates.finish(turn);                           // finish_host_function: the stream goes on
//
// The function itself is in the client, and so are its arguments. In its place the driver calls
// ours, which tells the client that the function's turn has come, and does not return before the
// client says that it has run. So the driver keeps what CUDA promises: order within a stream, work
// behind it held back, waits that last until it has returned; streams beside it go on, and
// where a driver runs host functions one after the other, these run one after the other too.
// Notices of copies that were complete go out before the turn does, as before any reply
// (late_copies.h).
//
// The client's numbers are echoed and never looked up. A turn that nobody waits at changes nothing
// when it is finished. What a client may have here is bounded by limits::kHostFunctionsMax: gates,
// and turns that it has not asked for, together.
// A gate opens when its client has run the function, when its context ends, and when the session
// does; after that the driver finds it open.
// Owner: the executor.  Threads: any; at_function and at_callback are the driver's.
// Lock order: its lock is a leaf; nothing is sent and no driver called under it.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <thread>

#include "transport/cuda/cuda_abi.h"
#include "transport/wire/frame.h"

namespace farcall::link {
class Session;
}

namespace farcall::server {

class LateCopies;

class HostGates {
 public:
  HostGates(link::Session& link, LateCopies& late_copies);
  ~HostGates();
  HostGates(const HostGates&) = delete;
  HostGates& operator=(const HostGates&) = delete;

  struct What {
    std::uint64_t id = 0;         // the client's number of the function
    CUcontext context = nullptr;  // it ends with this
    bool repeats = false;         // it is in a graph, and called at each of its launches
  };
  struct Gate;
  // For a driver to call. Null when there are too many.
  Gate* add(const What& what);
  // The driver did not take it.
  void remove(Gate* gate);
  // The client waits for nobody's answer, and `id` will not have its turn.
  void call_off(std::uint64_t id, CUresult why);
  // A call will not be carried out: calls its function off, should it be one of ours.
  void refuse(const wire::FrameHeader& head, std::span<const std::byte> body, CUresult why);

  static void CUDA_CB at_function(void* gate);
  static void CUDA_CB at_callback(CUstream stream, CUresult status, void* gate);
  // For what nobody waits for: tells the client, and returns at once.
  static void CUDA_CB at_end(void* gate);
  // The client's number of the function that a driver has this pointer for; 0 for others.
  std::uint64_t id_of(const void* gate) const;

  // The next turn answers this call. False when another one is there already.
  bool await(const wire::FrameHeader& head);
  // The same, of a call that was read ahead: when it comes again, in its place among the calls,
  // await() passes over it.
  void await_ahead(const wire::FrameHeader& head);
  void finish(std::uint64_t turn);
  // A context is about to end: what waits in it goes on, what comes to a gate in it passes.
  void end_context(CUcontext context);
  // The session is over: all open, also those that are reached later.
  void close();

  // Whether the driver may be waiting for the client, now or later.
  bool any() const;

 private:
  struct Shared;
  static void pass(Gate& gate, CUresult status);
  bool take_await(const wire::FrameHeader& head);
  void tell();

  link::Session& link_;
  LateCopies& late_copies_;
  const std::shared_ptr<Shared> shared_;  // what gates refer to
  std::thread teller_;
};

}  // namespace farcall::server
