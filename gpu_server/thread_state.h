// ThreadState: what the server knows of one thread of the client process.
//
// CUDA keeps a current context, a default stream and (in effect) an error per thread. The client's
// threads do not exist here, so their state lives in this struct, and whichever of our threads runs
// a call takes it on for the duration.
// Owner: the session's ThreadTable; addresses are stable.
// Threads: the executor's leader, or the one that `busy` stands for; never both (see Executor).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::server {

// The failure of a call nobody waited for. The thread's next call with an answer carries it.
struct Deferred {
  CUresult status = CUDA_SUCCESS;
  std::uint16_t row = 0;
  std::uint32_t call = 0;
  std::uint64_t function = 0;  // id of what a launch was to launch
  std::uint32_t others = 0;    // calls that failed after it
};

struct ThreadState {
  std::uint32_t number = 0;       // FrameHeader::thread
  std::uint64_t context_id = 0;   // current context; 0: none
  Deferred deferred;              // status CUDA_SUCCESS: nothing to report
  std::atomic<bool> busy{false};  // a call of this thread waits
  // What CU_STREAM_PER_THREAD means to this thread: per context id, the id of a stream, which is
  // gone from the handles when the context was reset.
  std::unordered_map<std::uint64_t, std::uint64_t> own_streams;
};

class ThreadTable {
 public:
  // The state of client thread `number`, made on first sight; null when the number is 0 or beyond
  // limits::kClientThreadsMax, or when that would be one more than a lease allows.
  // Threads: the leader only.
  ThreadState* get(std::uint32_t number) {
    if (number == 0 || number > limits::kClientThreadsMax) return nullptr;
    auto found = states_.find(number);
    if (found != states_.end()) return found->second.get();
    if (states_.size() >= at_most_) return nullptr;
    auto& state = states_[number];
    state = std::make_unique<ThreadState>();
    state->number = number;
    return state.get();
  }
  // What a lease allows. Before the first get().
  void hold_at_most(std::size_t threads) { at_most_ = threads; }

 private:
  std::unordered_map<std::uint32_t, std::unique_ptr<ThreadState>> states_;
  std::size_t at_most_ = limits::kClientThreadsMax;
};

}  // namespace farcall::server
