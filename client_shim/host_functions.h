// HostFunctions: functions of the program that run in the order of a stream on the server.
//
//   auto id = host_functions.add({.function = f, .data = data});      // before it is sent
//   …the call, with the id…
//   host_functions.sent(id);                                          // or remove(id)
//
// The server says when a function's turn has come; its stream waits there until we say that it has
// run (gpu_server/host_gates.h). So the caller goes on at once, the function may wait for other
// threads of the program and take locks that they hold over a synchronize, and all run on one
// thread of ours, one after the other, as CUDA's do. That thread exists from the first function on
// and asks for turns only while there are functions that have not run for the last time.
//
// The server is not believed: a function runs only if the program handed it over, and again only
// if it may be in a graph. When the link is lost, callbacks are called with that as their
// status, in the order in which they were added; functions of cuLaunchHostFunc are not called after
// an error. When the program ends, none is begun any more.
// Owner: one per client; leaked with it.  Threads: any.  Its lock is a leaf, and not held while a
// function runs. The thread blocks every signal; it ends with the session, and in the child of a
// fork.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <optional>

#include "transport/api/hand.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class Client;

class HostFunctions {
 public:
  explicit HostFunctions(Client& client) : client_(client) {}
  HostFunctions(const HostFunctions&) = delete;
  HostFunctions& operator=(const HostFunctions&) = delete;

  // One of the two pointers is null.
  struct Function {
    CUhostFn function = nullptr;
    CUstreamCallback callback = nullptr;
    CUstream stream = nullptr;  // what a callback is told
    void* data = nullptr;
    bool may_repeat = false;  // it may become part of a graph
  };
  // A number for it. Waits while there are limits::kHostFunctionsMax; 0 when there is no thread to
  // run it.
  std::uint64_t add(const Function& function);
  // What the program handed over under this number.
  std::optional<Function> find(std::uint64_t id);
  // The server has it, and will say when its turn has come.
  void sent(std::uint64_t id);
  // It has not, or not any more.
  void remove(std::uint64_t id);

  // Whether the server may be waiting for a function now, or will.
  bool any() const { return outstanding_.load(std::memory_order_relaxed) > 0; }
  // Calls that were posted while there are any, in bytes: a server that a driver holds up keeps
  // them (gpu_server/read_ahead.h), up to a limit. Before that a call has to be asked, so that its
  // caller waits.
  void posted(std::size_t bytes) { unanswered_.fetch_add(bytes, std::memory_order_relaxed); }
  void answered() {
    if (unanswered_.load(std::memory_order_relaxed) > 0) unanswered_ = 0;
  }
  bool wants_answer() const {
    return unanswered_.load(std::memory_order_relaxed) > limits::kReadAheadBytesMax / 2;
  }
  // The program ends.
  void stop();

 private:
  struct Entry {
    Function function;
    bool is_sent = false;
  };
  enum class Thread { kNone, kStarting, kRuns, kCannot };
  struct State {
    std::map<std::uint64_t, Entry> entries;
    std::uint64_t last_id = 0;
    std::size_t expected = 0;  // entries that are sent
    Thread thread = Thread::kNone;
    bool is_over = false;
  };
  bool start(Guarded<State>::Held& state);
  void run();
  bool serve(const api::hand::HostTurn& turn);
  bool call(const Function& function, CUresult status);
  void forget(State& state, std::uint64_t id);
  void fail_all();

  Client& client_;
  std::atomic<std::size_t> outstanding_{0};  // State::entries
  std::atomic<std::size_t> unanswered_{0};
  Guarded<State> state_;
  std::condition_variable wanted_;   // something to await, or the end
  std::condition_variable changed_;  // the thread has started, or there is room
};

}  // namespace farcall::shim
