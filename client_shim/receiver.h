// Receiver: pairs replies with the threads that wait for them, without a thread of its own.
//
//   Waiter waiter(take);                    // on the asking thread's stack
//   receiver.expect(waiter, thread_number); // before the request is posted
//   session.post(…);
//   CUresult result = receiver.wait(waiter);
//
// Of the waiting threads one leads: it receives, and completes the calls of the others where they
// stand, since their memory is theirs and they are parked. When its own reply has come it hands the
// lead to another that waits. So a lone thread pays no thread switch at all, and a slow call of one
// thread never holds up the reply of another.
// Replies are paired by the client thread's number: a thread has one call in flight.
// Owner: one per client.  Threads: any.  Lock order: its lock is a leaf, never held over I/O.
#pragma once
#include <condition_variable>
#include <optional>
#include <vector>

#include "client_shim/completions.h"
#include "client_shim/landings.h"
#include "transport/api/hand.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"
#include "transport/link/session.h"
#include "transport/wire/reader.h"

namespace farcall::shim {

// What a reply offers to the code that takes it. `take` runs on whichever thread leads, while the
// asking thread is parked: it must not touch thread_local state.
struct Reply {
  CUresult status;                  // the driver's answer, or a deferred error
  wire::Reader& in;                 // the body behind the status word
  std::span<const std::byte> body;  // all of it, the status word included
  bool bulk;                        // a payload follows on the bulk lane: read it, all of it
  link::Session& session;           // for bulk_read only
};
// Returns what the CUDA function returns. A reply that does not parse: `reply.in.fail()`.
using Take = FunctionRef<CUresult(Reply&)>;

class Waiter {
 public:
  explicit Waiter(Take take) : take_(take) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // What the reply's failure is of, when it is another call's. After Receiver::wait().
  const std::optional<api::hand::FailedEarlier>& earlier() const { return earlier_; }

 private:
  friend class Receiver;
  Take take_;
  std::condition_variable changed_;
  bool parked_ = false;  // inside wait(): may be given the lead
  bool taking_ = false;  // its reply is being taken by whoever leads
  bool done_ = false;
  CUresult result_ = CUDA_SUCCESS;
  std::optional<api::hand::FailedEarlier> earlier_;
};

class Receiver {
 public:
  Receiver(link::Session& session, Landings& landings, Completions& completions)
      : session_(session), landings_(landings), completions_(completions) {}

  void expect(Waiter& waiter, std::uint32_t thread);
  // The request was never sent. A hostile server may have answered all the same: returns when
  // nobody uses `waiter`, or what its `take` refers to, any more.
  void cancel(Waiter& waiter, std::uint32_t thread);
  // Blocks until the reply has been taken or the session has closed (kLinkLost).
  CUresult wait(Waiter& waiter);
  // Takes what has already arrived, unless somebody receives anyway; does not wait for more.
  // Returns whether there was anything.
  bool drain();

 private:
  struct State {
    std::vector<Waiter*> waiting;  // by thread number
    bool receiving = false;
  };
  void receive_until_done(const Waiter& mine);
  // False when the link is gone, and everybody who waits knows it.
  bool receive_one();
  bool is_done(const Waiter& waiter);
  Status complete(const link::Frame& frame);
  static Status print(const link::Frame& frame);
  Status note_done(const link::Frame& frame);
  Status note_earlier(const link::Frame& frame);
  void fail_all(const Status& why);
  void hand_over(State& state);

  link::Session& session_;
  Landings& landings_;
  Completions& completions_;
  Guarded<State> state_;
};

// What every call returns once the link is gone: the device cannot be reached any more.
inline constexpr CUresult kLinkLost = CUDA_ERROR_DEVICE_UNAVAILABLE;

}  // namespace farcall::shim
