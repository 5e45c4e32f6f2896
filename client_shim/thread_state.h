// ThreadState: what CUDA keeps per thread: the stack of current contexts. And what the link needs
// per thread: its number, and which context the server believes to be current.
//
//   ThreadState& thread = client.this_thread();
//   CUcontext current = thread.current();
//
// Owner: the thread; freed when it ends, its number is used again.  Threads: its own only.
// The pointer to it is a plain thread-local, not an object with a destructor, because CUDA calls
// reach the main thread after its thread-local objects are gone (cudart's atexit handlers).
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "client_shim/launch_plan.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class Client;

// Of a thread of a program with several servers: see fleet.h.
struct RoutedThread {
  std::vector<CUcontext> stack;  // of all servers' contexts; back() is current
  Client* serves = nullptr;      // who carries out the call under way
};

struct ThreadState {
  std::uint32_t number = 0;      // dense, from 1; 0 while all are taken
  std::uint64_t generation = 0;  // of the session it belongs to
  std::vector<CUcontext> stack;  // back() is current
  CUcontext bound = nullptr;     // what the server takes for current
  std::uint32_t last_call = 0;   // number of the call it sent last
  bool has_posts = false;        // posted since it last waited: their failures are still to come
  // Completions::work() before it last asked: what it posted by then has been answered.
  std::uint64_t answered_work = 0;
  bool posts_elsewhere = false;   // some of them for a context that is not current any more
  bool asks_always = false;       // see AskInstead in client.h
  bool in_host_function = false;  // of the program: CUDA forbids what would need the device
  bool is_ours = false;           // no thread of the program's
  RoutedThread routed;            // in the state for the first server only

  // See launch_plan.h; made at the first launch.
  std::unique_ptr<LaunchPlans> launch_plans;

  CUcontext current() const { return stack.empty() ? nullptr : stack.back(); }
  // What cuCtxSetCurrent does: replaces the top, or empties it.
  void set_current(CUcontext context);
};

// Numbers of threads, reused when their thread has ended and the server knows it.
class ThreadNumbers {
 public:
  // 0 when limits::kClientThreadsMax are taken.
  std::uint32_t take();
  // counts: unless it was left out
  void give_back(std::uint32_t number, bool counts = true);
  // A number that was taken is a thread's of ours, which does not count below.
  void leave_out() { live_.fetch_sub(1, std::memory_order_relaxed); }
  // Whether more than one thread has a number: more than one that has made a call and still lives.
  bool are_several() const { return live_.load(std::memory_order_relaxed) > 1; }

 private:
  struct State {
    std::uint32_t used = 0;
    std::vector<std::uint32_t> free;
  };
  Guarded<State> state_;
  std::atomic<std::uint32_t> live_{0};
};

// This thread's state for the session `generation`, made on first use. When it belongs to an
// earlier session (before a fork), it starts afresh.
//   at_exit  called when the thread ends, once with each state that was made
//   server   its number, below limits::kServersMax: a thread has one state for each
ThreadState& thread_state(std::uint64_t generation, ThreadNumbers& numbers,
                          void (*at_exit)(ThreadState&), unsigned server = 0);

}  // namespace farcall::shim
