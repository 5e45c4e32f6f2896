// WatchedEvents: tells a client which of its events are done before it asks.
//
//   watched.asked(event, result);                      // after cuEventQuery
//   watched.recording(event);                          // before cuEventRecord …
//   watched.recorded(event, call);                     // … and when it has succeeded
//   send_notices(watched, late_copies);                // before every reply
//
// Programs that keep memory until the device has done with it (PyTorch's allocators) record an
// event for each piece and ask for them again and again, by a round trip each. So an event that was
// asked for once is watched from its next record on: whatever reply leaves next brings word of the
// watched events that are done. What is told names event and record (the call's number), so it
// cannot be taken for a later record's. Not told is never wrong: the client then asks.
// An event that is recorded in a capture is not watched: to ask for it would spoil the capture.
// Bounded: limits::kWatchedEventsMax are known, the one asked for longest ago makes room;
// limits::kToldEventsMax are looked at before a reply.
// Owner: the executor.  Threads: any.  Lock order: state_ → the driver (cuEventQuery), the handle
// table; state_ is held over cuEventQuery, because an event that is being looked at must not be
// recorded anew or destroyed.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu_server/handle_table.h"
#include "gpu_server/late_copies.h"
#include "transport/api/driver.h"
#include "transport/api/hand.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::link {
class Session;
}

namespace farcall::server {

class WatchedEvents {
 public:
  WatchedEvents(const api::Driver& driver, HandleTable& handles, link::Session& link)
      : driver_(driver), handles_(handles), link_(link) {}
  WatchedEvents(const WatchedEvents&) = delete;
  WatchedEvents& operator=(const WatchedEvents&) = delete;

  // A client thread has asked for the event, and this is what it is told.
  void asked(std::uint64_t event, CUresult result);
  // What was known of the event holds no longer: before it is recorded or destroyed. Returns
  // whether it is one that clients ask for; then recorded() is worth calling.
  bool forget_record(std::uint64_t event);
  // It has been recorded, in no capture, by this call.
  void recorded(std::uint64_t event, std::uint32_t call);
  // A context is about to go, and its events with it.
  void forget_all();

  struct Done {
    std::array<api::hand::EventDone, limits::kToldEventsMax> events;
    std::size_t count = 0;
  };
  // Those that are done now; each is returned once.
  Done collect() { return outstanding_.load(std::memory_order_acquire) == 0 ? Done{} : look(); }
  // Puts them on the link; they leave with the reply that follows.
  void tell(const Done& done);

 private:
  struct Watched {
    std::uint64_t event = 0;
    std::uint32_t record = 0;  // call number; 0: nothing to look for
  };
  struct State {
    std::vector<Watched> events;
    std::size_t next = 0;  // whose place a newcomer gets when all are taken
  };
  static Watched* find(State& state, std::uint64_t event);
  void set_record(Watched& watched, std::uint32_t record);
  Done look();

  const api::Driver& driver_;
  HandleTable& handles_;
  link::Session& link_;
  std::atomic<std::size_t> known_{0};        // entries
  std::atomic<std::size_t> outstanding_{0};  // of them, those with a record
  Guarded<State> state_;
};

// Before a reply. In this order: an event that is found done proves copies complete, and their
// bytes must be there before it is told.
inline void send_notices(WatchedEvents& watched, LateCopies& late_copies) {
  const WatchedEvents::Done done = watched.collect();
  late_copies.send_complete();
  if (done.count > 0) watched.tell(done);
}

}  // namespace farcall::server
