// LaneDesk: where a session's data connections find it.
//
//   lanes.expect(id, CarrierKind::kTcp, stripes);  // the session's thread, before it grants
//   lanes.deliver(hello, kTcp, std::move(socket)); // a connection's thread
//   Result<LaneSockets> all = lanes.await(id, deadline, gone);
//
// A lane names its session in the clear, so anybody may claim to be one. That is enough to be
// handed on and no more: the worker believes a lane when its first sealed record opens. Threads:
// any.
#pragma once
#include <array>
#include <condition_variable>
#include <map>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/hello.h"

namespace farcall::server {

struct LaneSockets {
  Fd calls;
  std::vector<Fd> bulk;  // by number
};

class LaneDesk {
 public:
  // kind: what the session was told its lanes run over; kTcp or kShm
  // stripes: connections for payloads that it was told to open; 1 … limits::kStripesMax
  void expect(const link::SessionId& id, link::CarrierKind kind, std::size_t stripes);
  // kind: what the socket is for by the way it came in
  // Errors: kNotFound when nobody expects this lane (any more); the socket is closed then.
  Status deliver(const link::LaneHello& hello, link::CarrierKind kind, Fd socket);
  // Waits for all of them; the session is no longer expected afterwards, whatever happened.
  //   gone  asked now and then whether the client has given up; must not block
  // Errors: kTimeout, kClosed when the client gave up or stop() was called.
  Result<LaneSockets> await(const link::SessionId& id, Deadline deadline, FunctionRef<bool()> gone);
  // Every await() returns.
  void stop();

 private:
  struct Lanes {
    link::CarrierKind kind = link::CarrierKind::kTcp;
    std::vector<Fd> sockets;  // as many as are to come, by the number in their hello
  };
  struct State {
    std::map<std::array<std::byte, 16>, Lanes> expected;
    bool stopped = false;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_;
};

}  // namespace farcall::server
