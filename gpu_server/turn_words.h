// TurnWords: what workers of a lease and the supervisor tell each other about turns on devices.
//
//   words.cells[slot][device].is_in = 1;  ring the doorbell;         // worker: I want to launch
//   words.set_turn(device, Turn::kTurn);                             // supervisor: now you may
//   while (turn_of(words.turns[device]) == Turn::kShut) words.await_change(seen, -1);   // worker
//
// A part of the ledger's page, which all workers of one lease have and no others. Each change of a
// turn has a number; a worker that was shut answers with it when nothing that it launched is left.
// The supervisor reads only what can end or prolong this lease's own turns (share_arbiter.h).
// Owner: the Ledger.  Threads and processes: any, without locks.
#pragma once
#include <atomic>
#include <cstdint>

#include "gpu_server/share_arbiter.h"
#include "transport/base/limits_lease.h"

namespace farcall::server {

struct TurnWords {
  // One for each session of the lease and device that its driver shows, by its number there.
  struct Cell {
    std::atomic<std::uint32_t> is_in;  // it has work on the device, or wants to
    std::atomic<std::uint32_t> done;   // the last change whose work is done
  };

  // --- the supervisor
  // Says what holds from now on, and wakes who waits for it.
  void set_turn(std::size_t device, Turn turn);
  // What the sessions together say. Of cells beyond `slots_used` nobody has spoken.
  ShareArbiter::Word word(std::size_t device, std::size_t slots_used) const;
  // Nobody speaks in this slot any more.
  void clear(std::size_t slot);

  // --- workers
  // Waits until changes != seen, for `ns` at most; -1: as long as it takes. May return for nothing.
  void await_change(std::uint32_t seen, std::int64_t ns);
  // All who await a change look again.
  void wake();

  std::atomic<std::uint32_t> changes;                            // counts all set_turn
  std::atomic<std::uint32_t> turns[limits::kLeaseDevicesMax];    // number of the change, and Turn
  std::atomic<std::uint64_t> devices[limits::kLeaseDevicesMax];  // which one it is; 0: not told yet
  Cell cells[limits::kLeaseSessionsMax][limits::kLeaseDevicesMax];
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "processes share it");

constexpr Turn turn_of(std::uint32_t word) { return static_cast<Turn>(word & 3); }

}  // namespace farcall::server
