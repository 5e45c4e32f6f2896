// ShareArbiter: which lease has its turn on a device, so that each gets its share of the time.
//
//   ShareArbiter device;
//   device.join(1, 30);  device.join(2, kNoShare);
//   device.note(1, {.is_in = true}, now_ns);       // a session of lease 1 wants to launch
//   device.tick(now_ns);
//   device.turn(1);                                // kOpen: nobody else is there
//   …                                              // again at device.next_ns(), and after notes
//
// While a single lease is on the device, and was for limits::kShareQuietNs, or none of those that
// are has a share, it is open to them. Otherwise one lease at a time has its turn. Time is booked
// from the start of a turn until all that it left on the device is done, divided by the lease's
// weight; who owes least goes next, and a turn lasts its weight's part of limits::kShareRoundNs. So
// what one turn takes too much is paid back by the next: over time each has its share, however long
// its kernels are. A lease that comes owes at most limits::kShareRoundNs less than anybody there:
// it has saved up no more than that while it was away, its debt it keeps; and a turn is cut short
// for it if it owes less than who has it. Weights: a share is its percentage; leases without one
// have equal parts of what the shares there leave of 100, at least 1 each. What a lease does not
// use the others have. Nobody has to be believed: what a lease says can only end its own turn, or
// prolong it by limits::kShareDrainNs, which is booked. Owner: a TurnKeeper; one for each device.
// Threads: one.  Pure logic: time is given.
#pragma once
#include <cstdint>
#include <map>

namespace farcall::server {

// Of a lease that was not given a share of computing time.
inline constexpr unsigned kNoShare = 100;

enum class Turn : std::uint32_t {
  kShut,  // launches wait
  kTurn,  // launches pass, a few at a time, because others wait
  kOpen,  // launches pass
};

class ShareArbiter {
 public:
  using Name = std::uint64_t;

  // What the sessions of a lease say.
  struct Word {
    bool is_in = false;    // one of them has work on the device, or wants to
    bool is_done = false;  // nothing is left of what was launched before it was shut
  };

  // percent: 1 … 99, or kNoShare.
  void join(Name lease, unsigned percent);
  // Its last session has ended, and everything with it.
  void leave(Name lease);
  bool is_empty() const { return leases_.empty(); }

  void note(Name lease, Word word, std::int64_t now_ns);
  // Decides what holds from now on.
  void tick(std::int64_t now_ns);

  Turn turn(Name lease) const;
  // When to tick again if nothing is noted before; INT64_MAX: never.
  std::int64_t next_ns() const { return next_ns_; }
  // Booked so far, since it joined: for logs and tests.
  std::int64_t used_ns(Name lease) const;

 private:
  struct Lease {
    unsigned percent = kNoShare;
    bool is_in = false;
    Turn turn = Turn::kShut;
    bool drains = false;    // shut, and not yet done
    bool has_come = false;  // since the last tick
    bool was_in = false;    // ever, and then until left_ns
    std::int64_t left_ns = 0;
    std::int64_t since_ns = 0;    // booked up to here
    std::int64_t changed_ns = 0;  // when the turn began or was shut
    std::int64_t used_ns = 0;
    double owes = 0;    // ns of time, for each part of the whole
    double weight = 1;  // parts of the whole, 0 … 1
  };
  using Entry = std::map<Name, Lease>::value_type;

  void weigh();
  void book(std::int64_t now_ns);
  void open_to_all();
  void shut(Lease& lease, std::int64_t now_ns);
  Lease* holder();
  // Who goes next; null when nobody wants to.
  Lease* first();
  void keep_or_shut(Lease& holder, std::int64_t now_ns);
  std::int64_t turn_ns(const Lease& lease) const;
  bool is_contended(std::int64_t now_ns) const;
  // Until when it counts as being there, though it is not.
  static std::int64_t lingers_ns(const Lease& lease);

  std::map<Name, Lease> leases_;
  std::int64_t turn_ends_ns_ = 0;
  std::int64_t next_ns_ = INT64_MAX;
};

}  // namespace farcall::server
