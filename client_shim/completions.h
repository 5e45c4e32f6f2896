// Completions: which work is certainly done, so that waiting for it again costs no round trip.
//
//   completions.sent(row);                               // a frame that may start work has left
//   const std::uint64_t work = completions.work();       // before a wait is sent
//   …the wait succeeds…
//   completions.prove(place, work);
//   if (completions.is_idle(place)) return CUDA_SUCCESS; // the next wait, without a message
//
// Work is counted for the session, not for each stream: whatever any thread starts after a proof
// makes the proof worthless. So an answer from here is always right, and sometimes not to be had.
// The count grows after a frame has left and before its call returns: work that a program knows to
// have been started, by whichever thread, has been counted; and work counted before a wait is sent
// was sent before it, so that the wait's success proves it.
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

class Completions {
 public:
  // A frame of this row has left; to be called before its call returns.
  void sent(const api::RowInfo& row) {
    if (may_start_work(row)) work_.fetch_add(1, std::memory_order_release);
  }
  std::uint64_t work() const { return work_.load(std::memory_order_acquire); }

  // A wait for `place` has succeeded; `work`: the count before it was sent.
  void prove(const WorkPlace& place, std::uint64_t work);
  // Nothing can be outstanding at `place`.
  bool is_idle(const WorkPlace& place);

  // `event` was recorded at `place`; after sent().
  void recorded(CUevent event, const WorkPlace& place);
  void destroyed(CUevent event);
  // Which record of the event is its latest; 0 when it is not known.
  std::uint64_t latest_record(CUevent event);
  // A wait for `event` has succeeded; `record`: latest_record() before it was sent.
  void prove(CUevent event, std::uint64_t record);
  bool is_done(CUevent event);

  // While a stream is being captured, waits are for the driver to judge.
  void capture_begins() { captures_.fetch_add(1, std::memory_order_relaxed); }
  void capture_ends();
  bool is_capturing() const { return captures_.load(std::memory_order_relaxed) > 0; }

 private:
  struct Proof {
    WorkPlace place;
    std::uint64_t work = 0;
  };
  struct Recorded {
    WorkPlace place;
    std::uint64_t work = 0;  // counted when it had been sent
    bool is_done = false;
  };
  struct State {
    std::vector<Proof> proofs;  // few: a program waits for few streams
    std::size_t next = 0;       // where the next one goes when there are many
    std::unordered_map<CUevent, Recorded> events;
  };
  static bool may_start_work(const api::RowInfo& row);
  static std::uint64_t proven(const State& state, const WorkPlace& place);

  std::atomic<std::uint64_t> work_{1};
  std::atomic<int> captures_{0};
  Guarded<State> state_;
};

}  // namespace farcall::shim
