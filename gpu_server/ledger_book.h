// LeaseBook: the leases that have sessions on this server, and the ledger of each.
//
//   Result<LeaseSeat> seat = book.enter("tenant acme, user ann", limits);   // one more session
//   if (!seat.ok()) refuse(seat.status());
//   command.ledger = seat->ledger_fd();  command.ledger_slot = seat->slot();
//   command.doorbell = seat->doorbell_fd();
//   …                                     // the seat goes after the worker has ended
//
// The first session of a lease makes its ledger, the last one takes it away. What limits say holds
// from the first session on until the last has ended.
// Owner: the supervisor; a seat: the thread of its session.  Threads: any.
// Never looks at what a worker wrote but to say it in the log; turns on devices, which workers ask
// for, are the TurnKeeper's.
#pragma once
#include <condition_variable>
#include <map>
#include <memory>
#include <string>

#include "gpu_server/ledger.h"
#include "gpu_server/turn_keeper.h"

namespace farcall::server {

class LeaseBook;

// A session's place in its lease. Gives back what its worker held when it goes.
class LeaseSeat {
 public:
  LeaseSeat(LeaseSeat&& other) noexcept;
  LeaseSeat& operator=(LeaseSeat&&) = delete;
  ~LeaseSeat();

  int ledger_fd() const { return ledger_->fd(); }
  unsigned slot() const { return slot_; }
  // For the worker to ask for its turn with.
  int doorbell_fd() const { return doorbell_; }
  const Ledger& ledger() const { return *ledger_; }

 private:
  friend class LeaseBook;
  LeaseSeat(LeaseBook& book, std::string lease, Ledger& ledger, int doorbell, unsigned slot)
      : book_(&book),
        lease_(std::move(lease)),
        ledger_(&ledger),
        doorbell_(doorbell),
        slot_(slot) {}
  LeaseBook* book_;  // null when moved from
  std::string lease_;
  Ledger* ledger_;
  int doorbell_;
  unsigned slot_;
};

class LeaseBook {
 public:
  // One more session of `lease`. The book must outlive the seat.
  //   lease   what names it: the same text, the same lease
  //   limits  used when it is the first session
  //   wait_ms  how long to wait for a session of the lease to end; a program's first session may
  //            come while the one is ending that looked whether there is a server
  // Errors: kOverQuota (all sessions of the lease, or all leases, are in use); kSystem.
  Result<LeaseSeat> enter(const std::string& lease, const LeaseLimits& limits,
                          int wait_ms = limits::kLeaseSeatMs);

  // Sessions of `lease` now.
  std::size_t sessions(const std::string& lease);

 private:
  friend class LeaseSeat;
  struct Lease {
    std::unique_ptr<Ledger> ledger;
    int doorbell = -1;  // the keeper's
    std::size_t sessions = 0;
  };
  void leave(const std::string& lease, unsigned slot);
  using Leases = std::map<std::string, Lease>;
  static Result<LeaseSeat> no_seat(const Ledger& ledger);
  Guarded<Leases> leases_;
  std::condition_variable left_;
  TurnKeeper keeper_;  // ends before the ledgers do
};

}  // namespace farcall::server
