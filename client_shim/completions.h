// Completions: which work is certainly done, so that waiting for it again costs no round trip.
//
//   completions.sent(row);                               // a frame that may start work has left
//   const std::uint64_t work = completions.work();       // before a wait is sent
//   …the wait succeeds…
//   completions.prove(place, work, Proof::kWaited);
//   if (completions.is_idle(place, Proof::kWaited)) return CUDA_SUCCESS;  // the next wait, locally
//
// Work is counted for the session, not for each stream: whatever any thread starts after a proof
// makes the proof worthless. So an answer from here is always right, and sometimes not to be had.
// The count grows after a frame has left and before its call returns: work that a program knows to
// have been started, by whichever thread, has been counted; and work counted before a wait is sent
// was sent before it, so that the wait's success proves it. Of a call that is waited for the server
// may make the driver's call later than others that came after it, so it is counted once more when
// its reply has come.
//
// An event is done when it was found to be, or when its place was found idle after the record; and
// one that is done proves that what was in its stream before it is. Waiting for a context proves
// the streams made in it. Done stays done until the event is recorded again; that something is not
// done is never remembered, so a program that looks again and again sees it happen.
// Owner: one per client.  Threads: any.
#pragma once
#include <atomic>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "transport/api/caller.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

// What a wait is for: everything of a context, or one stream.
struct WorkPlace {
  CUcontext context = nullptr;  // the current one
  bool is_stream = false;
  CUstream stream = nullptr;
  std::uint32_t thread = 0;  // for CU_STREAM_PER_THREAD only, which is another one in each thread

  static WorkPlace whole(CUcontext context) { return {context, false, nullptr, 0}; }
  static WorkPlace of(CUcontext context, CUstream stream, std::uint32_t thread) {
    return {context, true, stream, stream == CU_STREAM_PER_THREAD ? thread : 0};
  }
  // CUDA's own streams, which belong to the current context for certain.
  bool is_default_stream() const {
    return stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD;
  }
  friend bool operator==(const WorkPlace&, const WorkPlace&) = default;
};

// How something is known to be done. A program that waits also wants to see what kernels printed,
// which a driver brings along when it waits and not when it only looks.
enum class Proof : std::uint8_t { kNone, kSeen, kWaited };

class Completions {
 public:
  // A frame of this row has left; to be called before its call returns. asked: its reply is waited
  // for, and what it started is done by then where its row says so.
  void sent(const api::RowInfo& row, bool asked) {
    if (may_start_work(row, asked)) work_.fetch_add(1, std::memory_order_release);
  }
  // The reply to it has come.
  void answered(const api::RowInfo& row) { sent(row, true); }
  std::uint64_t work() const { return work_.load(std::memory_order_acquire); }

  // A look at `place`, or a wait for it, has succeeded; `work`: the count before it was sent.
  void prove(const WorkPlace& place, std::uint64_t work, Proof proof);
  // Nothing can be outstanding at `place`, and that is known as well as `enough` asks for.
  bool is_idle(const WorkPlace& place, Proof enough);

  void made(CUstream stream, CUcontext context);
  void destroyed(CUstream stream);

  struct Record {
    std::uint32_t call = 0;    // its number
    std::uint64_t before = 0;  // work() before it was sent
  };
  // `event` was recorded at `place`, in no capture; after sent(), and after its call has returned.
  void recorded(CUevent event, const WorkPlace& place, const Record& record);
  // A graph may record it, at any of its launches: it is not known from here on.
  void kept_by_graph(CUevent event);
  void destroyed(CUevent event);
  // A context has gone, or a call has failed that the program took for done: nothing is known.
  void forget_all();

  // False: it was never recorded, or nothing is known of it.
  bool was_recorded(CUevent event) { return state_.lock()->events.contains(event); }
  // The call that recorded the event last; 0 when it is not known.
  std::uint32_t latest_record(CUevent event);
  // What `call` recorded of the event is done.
  void prove(CUevent event, std::uint32_t call, Proof proof);
  struct Known {
    Proof proof = Proof::kNone;
    std::uint64_t work = 0;  // counted when it had been recorded
  };
  Known known(CUevent event);

  // While a stream is being captured, waits are for the driver to judge.
  void capture_begins() { captures_.fetch_add(1, std::memory_order_relaxed); }
  void capture_ends();
  bool is_capturing() const { return captures_.load(std::memory_order_relaxed) > 0; }

 private:
  // Up to which work a place is known to be done.
  struct Idle {
    WorkPlace place;
    std::uint64_t seen = 0;
    std::uint64_t waited = 0;  // never more than seen
    std::uint64_t up_to(Proof proof) const { return proof == Proof::kWaited ? waited : seen; }
  };
  struct Recorded {
    WorkPlace place;
    Record record;
    std::uint64_t work = 0;  // counted when it had been sent
    Proof proof = Proof::kNone;
    bool in_graph = false;
  };
  struct State {
    std::vector<Idle> idle;  // few: a program waits for few streams
    std::size_t next = 0;    // where the next one goes when there are many
    std::unordered_map<CUevent, Recorded> events;
    std::unordered_map<CUstream, CUcontext> streams;
  };
  static bool may_start_work(const api::RowInfo& row, bool asked);
  static void prove(State& state, const WorkPlace& place, std::uint64_t work, Proof proof);
  static bool is_proven(const State& state, const WorkPlace& place, std::uint64_t work,
                        Proof proof);

  std::atomic<std::uint64_t> work_{1};
  std::atomic<int> captures_{0};
  Guarded<State> state_;
};

}  // namespace farcall::shim
