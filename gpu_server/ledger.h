// Ledger: what the sessions of one lease hold, counted where all of their workers see it.
//
//   auto ledger = Ledger::create(limits);                     // supervisor, once a lease
//   std::optional<unsigned> slot = ledger->take_slot();       // once a session; …->fd() to a
//   worker auto mine = Ledger::join(fd, slot);                       // worker if
//   (!mine->charge({Account::kMemory, device}, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
//   mine->give_back({Account::kMemory, device}, bytes);
//   ledger->leave(*slot);                                     // supervisor: the worker is gone
//
// One page of figures in a memfd that cannot change its size. Each worker counts in a slot of its
// own, and what the lease holds is the sum: so a worker that dies at any point leaves nothing to
// repair but its slot, which the supervisor clears. A charge enters the slot first and is taken
// back if the sum turns out too large: two workers can never both have the last bytes.
// Figures of other leases are in other pages, which a worker does not have. A worker that has been
// taken over can write what it likes into its own lease's page and gains what it has anyway, the
// driver; sums do not overflow, and the supervisor takes nothing from the page but figures to show.
// Owner: the supervisor's LeaseBook; a worker's main.  Threads: any, without locks.
// Cost: a charge is two additions and a look at 16 bytes for each session of the lease.
// Never calls a driver, never waits.
#pragma once
#include <atomic>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>

#include "gpu_server/facts.h"
#include "gpu_server/lease_limits.h"
#include "gpu_server/turn_words.h"
#include "transport/base/guarded.h"
#include "transport/base/limits_lease.h"
#include "transport/base/unique.h"

namespace farcall::server {

// What is counted. Memory is counted for each device, all else for the lease.
enum class Account : std::uint8_t { kMemory, kImages, kInFlight };
struct Place {
  Account account = Account::kMemory;
  int device = 0;  // kMemory only; those beyond limits::kLeaseDevicesMax count as the last one
};

class Ledger {
 public:
  // Errors: kSystem.
  static Result<std::unique_ptr<Ledger>> create(const LeaseLimits& limits);
  // The ledger behind `fd`, to count in `slot`.
  // Errors: kSystem; kMalformed for anything that create() did not make.
  static Result<std::unique_ptr<Ledger>> join(Fd fd, unsigned slot);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // As create() was told; a worker reads them once, at join().
  const LeaseLimits& limits() const { return limits_; }
  // kNoLimit when there is none.
  std::uint64_t limit(Account account) const;

  // --- a worker, in its slot
  // Tells there what is taken and refused. Borrowed. Before the first charge.
  void use_facts(Facts* facts) { facts_ = facts; }
  // A call was refused for want of room.
  void count_refusal() {
    if (facts_ != nullptr) facts_->count(Tally::kRefusedMemory);
  }
  // False, and nothing is charged, when the lease would hold more than it may. Two sessions that
  // ask for the last of it at the same moment may both be refused.
  bool charge(Place place, std::uint64_t bytes);
  // Would it be granted now? For what is charged later.
  bool has_room(Place place, std::uint64_t bytes) const;
  // Charges what is taken already, limit or not.
  void charge_anyway(Place place, std::uint64_t bytes);
  // At most what this slot holds.
  void give_back(Place place, std::uint64_t bytes);
  // What the slot holds.
  std::uint64_t own(Place place) const;

  // --- anybody
  // Turns on devices: turn_keeper.h and launch_gate.h.
  TurnWords& turns();
  unsigned slot() const { return slot_; }
  // Slots that were ever taken.
  std::size_t slots_used() const;
  // What all sessions of the lease hold.
  std::uint64_t held(Place place) const;
  // The most that was ever seen held.
  std::uint64_t peak(Place place) const;

  // --- the supervisor
  int fd() const { return file_.get(); }  // for Ledger::join, in a worker of this lease
  // A free slot; none while limits::kLeaseSessionsMax are taken.
  std::optional<unsigned> take_slot();
  // Gives back all that the slot's worker held. Only when that process has ended.
  void leave(unsigned slot);

 private:
  struct Page;
  using Cell = std::atomic<std::uint64_t>;
  Ledger(Fd file, Page* page, unsigned slot);
  static std::size_t row_of(Place place);
  void tell_taken(Place place, std::uint64_t bytes);

  Fd file_;
  Page* page_;
  LeaseLimits limits_;
  unsigned slot_;
  Facts* facts_ = nullptr;
  Guarded<std::bitset<limits::kLeaseSessionsMax>>
      taken_;  // the supervisor's, out of workers' reach
};

// What `bytes` of device memory are charged as: what a driver takes for them at most.
std::uint64_t charged_bytes(std::uint64_t bytes);

}  // namespace farcall::server
