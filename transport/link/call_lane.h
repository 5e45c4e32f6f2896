// Lane 0: frames gather into records on the way out and come out of records one by one.
//
//   Result<std::uint32_t> call = sender.post(head, Flush::kNow, encode);
//   Result<Frame> frame = receiver.receive(deadline);
//
// Sending: one thread at a time holds the wire (`sending`). Others append to the other of two
// buffers and leave; the holder sends what gathered before it lets go. So a thread never waits for
// a send that is not its own, unless a whole record is already waiting.
// Owner: a Session.  Threads: CallSender any; CallReceiver one at a time.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>

#include "transport/base/guarded.h"
#include "transport/base/secure_arena.h"
#include "transport/link/lane.h"

namespace farcall::link {

class CallSender {
 public:
  static Result<std::unique_ptr<CallSender>> make(Lane& lane);

  // As Session::post; on a failure of the wire the caller closes the session.
  Result<std::uint32_t> post(wire::FrameHeader head, Flush flush, Session::Encode encode);
  Status flush();
  // Every later call returns `why`; threads that wait for room wake. Tells the peer, if that can be
  // done without blocking and `why` is for others to read.
  void stop(const Status& why);
  void wipe_in_child();

  bool has_gathered() const { return gathered_.load(std::memory_order_relaxed); }
  std::uint64_t frames() const { return frames_.load(std::memory_order_relaxed); }
  std::uint64_t round_trips() const { return round_trips_.load(std::memory_order_relaxed); }

 private:
  struct State {
    std::size_t fill = 0;  // which buffer gathers; the other one may be on its way
    std::size_t used = 0;
    std::int64_t oldest_ns = 0;  // when the first gathered frame came
    std::int64_t sent_ns = 0;    // when frames last left
    std::uint32_t last_call = 0;
    bool sending = false;
    bool flush_wanted = false;
    Status stopped;
  };
  using Held = Guarded<State>::Held;

  CallSender(Lane& lane, SecureBuffer first, SecureBuffer second);
  // Fills in the head's length and, for a call, its number. False: it does not fit behind what has
  // gathered, and nothing changed.
  bool append(State& state, wire::FrameHeader& head, Session::Encode encode);
  // Whether what has gathered should leave with the frame just appended.
  static bool is_due(State& state, Flush flush, bool was_empty);
  // Takes the wire and swaps buffers. Returns the bytes to send.
  std::size_t take_wire(State& state);
  // Sends `bytes` of the buffer that was swapped out, and what is wanted behind it.
  Status pump(std::size_t bytes);

  Lane& lane_;
  SecureBuffer buffers_[2];
  Guarded<State> state_;
  std::condition_variable idle_;  // `sending` became false, or stopped
  std::size_t out_ = 0;           // the buffer on its way; belongs to who holds the wire
  // These change under the lock of `state_`.
  std::atomic<bool> gathered_{false};  // state.used > 0
  std::atomic<std::uint64_t> frames_{0};
  std::atomic<std::uint64_t> round_trips_{0};
};

class CallReceiver {
 public:
  static Result<std::unique_ptr<CallReceiver>> make(Lane& lane);

  // Errors: kTimeout, else what must close the session.
  Result<Frame> receive(Deadline deadline);
  bool has_frame() const { return position_ < filled_; }
  bool has_more() { return has_frame() || lane_.has_next(); }
  std::uint64_t frames() const { return frames_.load(std::memory_order_relaxed); }

 private:
  CallReceiver(Lane& lane, SecureBuffer buffer) : lane_(lane), buffer_(std::move(buffer)) {}
  Status next_record(Deadline deadline);

  Lane& lane_;
  SecureBuffer buffer_;
  std::size_t position_ = 0;
  std::size_t filled_ = 0;
  std::atomic<std::uint64_t> frames_{0};
};

}  // namespace farcall::link
