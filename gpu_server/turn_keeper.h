// TurnKeeper: gives the leases of a server their turns on its devices.
//
//   TurnKeeper keeper;
//   Result<int> doorbell = keeper.join(ledger);    // to the lease's workers, as descriptor 8
//   …
//   keeper.poke();                                 // a session of it has ended
//   keeper.leave(ledger);                          // its last one
//
// One thread: it sleeps until a worker rings its lease's doorbell or a turn is over, reads what the
// leases' pages say, asks the ShareArbiter of each device, and writes what has changed. While every
// lease is alone on its devices, or none has a share, it is asked once by each session.
// Devices are told apart by what workers say they are called (their UUIDs): leases see different
// ones under the same number.
// Each lease has a doorbell of its own, because who has one can also silence it.
// Owner: a LeaseBook.  Threads: any; its own one ends in the destructor.
// Lock order: its lock is a leaf. Under it only bells are rung, nothing waits.
// Trusts pages of leases as far as share_arbiter.h says, and their doorbells not to be quiet.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <thread>

#include "gpu_server/ledger.h"
#include "gpu_server/share_arbiter.h"
#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/base/unique.h"

namespace farcall::server {

class TurnKeeper {
 public:
  explicit TurnKeeper(const Clock& clock = system_clock()) : clock_(clock) {}
  ~TurnKeeper();
  TurnKeeper(const TurnKeeper&) = delete;
  TurnKeeper& operator=(const TurnKeeper&) = delete;

  // The lease behind `ledger`, which is borrowed until leave(). Returns its doorbell, an eventfd
  // that is there as long.  Errors: kSystem.
  Result<int> join(Ledger& ledger);
  void leave(Ledger& ledger);
  // What a page says may have changed without a ring.
  void poke();

 private:
  struct Device {
    std::uint64_t name = 0;  // 0: no worker has told yet
    Turn turn = Turn::kShut;
  };
  struct Lease {
    Ledger* ledger = nullptr;
    Fd doorbell;
    std::array<Device, limits::kLeaseDevicesMax> devices{};
  };
  using Name = ShareArbiter::Name;
  struct State {
    Name next = 1;
    std::map<Name, Lease> leases;
    std::map<std::uint64_t, ShareArbiter> devices;  // by name
    std::thread thread;
    bool stops = false;
  };
  Status start(State& state);
  void run();
  // One look at all pages; returns when to look again.
  std::int64_t look();
  void listen(State& state, Name name, Lease& lease, std::int64_t now_ns);
  static void tell(State& state, Name name, Lease& lease);

  const Clock& clock_;
  Fd waiter_;  // epoll: doorbells, poke_, timer_
  Fd poke_;
  Fd timer_;
  Guarded<State> state_;
};

}  // namespace farcall::server
