// LaunchGate: a driver whose launches wait for their lease's turn on the device.
//
//   LaunchGate gate(metered.driver(), ledger, std::move(doorbell));
//   Executor executor(gate.driver(), session);      // and nothing uses the other one
//
// It stands at the driver's door, as the ledger does: whatever way a launch takes there, it passes
// here (launch_gate_rows.def); all other functions are the driver's own. While the device is open
// to the lease a launch costs one look at a word. Otherwise (turn_words.h):
// - shut: the launch says that its worker is in, rings, and sleeps until there is a turn;
// - during a turn each launch has an event behind it, and only a few may be under way, so that
//   little is left when the turn ends: one long kernel, or many short ones (limits::kShareTailNs).
// A thread for each device records an event on every stream that was launched on when the turn is
// over, waits for them, and says that nothing is left; and it gives a turn back that nobody uses.
// Launches into a stream that is being captured compute nothing and pass; the graph's launch waits.
// A launch that sees the device open in the very moment in which it is shut still passes: one for
// each thread of the client.
// Not seen: copies, which have engines of their own on most devices; streams beyond
// limits::kShareStreamsMax, devices beyond limits::kLeaseDevicesMax.
// Owner: main. C functions have no place for a `this`, so there is one at a time in a process.
// Threads: any. Lock order: waits_ → streams_ or a device's window. waits_ is held while a thread
// waits for the device, so that no context ends under it; the others over calls that do not wait.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "gpu_server/ledger.h"
#include "transport/api/driver.h"
#include "transport/base/guarded.h"
#include "transport/base/unique.h"

namespace farcall::server {

class LaunchGate {
 public:
  // Both are borrowed. doorbell: the lease's, see turn_keeper.h.
  LaunchGate(const api::Driver& real, Ledger& ledger, Fd doorbell);
  ~LaunchGate();
  LaunchGate(const LaunchGate&) = delete;
  LaunchGate& operator=(const LaunchGate&) = delete;

  const api::Driver& driver() const { return gated_; }

  // --- for the functions that stand in the driver's table
  static LaunchGate& get();
  const api::Driver& real() const { return real_; }
  // Before a launch of the calling thread. Returns whether launched() is to be told of it.
  bool enter(CUstream stream);
  void launched(CUstream stream);
  // Before these end.
  void forget_stream(CUstream stream);
  void forget_context(CUcontext context);
  void forget_device(int device);
  void forget_all();

 private:
  // Something to wait for.
  struct Behind {
    CUevent event = nullptr;
    CUcontext context = nullptr;
  };
  struct Used {
    CUstream stream = nullptr;
    CUcontext context = nullptr;
    int device = 0;
  };
  struct Streams {
    std::vector<Used> used;
    std::map<CUcontext, std::vector<CUevent>> spare;
  };
  struct Window {
    std::deque<Behind> under_way;
    unsigned most = 4;
    bool was_full = false;  // since it was last fitted
  };
  struct Lane {                              // a device
    std::atomic<int> waiting{0};             // launches that are in, and not through yet
    std::atomic<std::uint64_t> launches{0};  // those of turns
    std::atomic<bool> is_known{false};
    Guarded<Window> window;
    std::thread helper;  // of start()
  };
  struct Last;

  static api::Driver gated(const api::Driver& real);
  bool enter_slowly(const Used& launch, Last* last);
  void start(int device);
  void await_turn(int device);
  // True when one more may be under way; otherwise waits for the oldest and says false.
  bool has_room(Lane& lane);
  bool is_capturing(CUstream stream) const;
  TurnWords::Cell& cell(int device) { return words_.cells[slot_][device]; }
  void ring() const;

  std::optional<Behind> record(Streams& streams, const Used& where);
  void give_back(const Behind& behind);
  template <class Which>
  void forget(Which which);

  // --- a device's helper
  void help(int device);
  void finish(int device, std::uint32_t turn);
  void drain(int device);
  void fit_window(Lane& lane, std::int64_t tail_ns);
  // Nothing was launched since `launches`, nothing is under way.
  bool is_idle(Lane& lane, std::uint64_t launches);
  // The worker is out, unless a launch waits.
  void rest(int device);

  const api::Driver& real_;
  api::Driver gated_;
  TurnWords& words_;
  const unsigned slot_;
  const Fd doorbell_;
  std::atomic<bool> stops_{false};
  // What threads remember of their last launch holds while this is the same. Not a gate's own: the
  // next one may lie at the same address.
  static inline std::atomic<std::uint64_t> generation_{0};
  Mutex waits_;
  Guarded<Streams> streams_;
  std::array<Lane, limits::kLeaseDevicesMax> lanes_;
};

}  // namespace farcall::server
