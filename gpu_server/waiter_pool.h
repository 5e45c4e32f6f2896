// WaiterPool: the threads of a session, one more than there are calls that wait.
//
//   WaiterPool pool;
//   pool.run([this] { lead(); });                 // at once, on a parked thread
//
// Calls that wait for the GPU (a synchronize, a copy back) each keep a thread, and each may depend
// on calls of other client threads which somebody must still carry out. So there is always another
// thread: a parked one when there is one, else a new one.
//
// Owner: a session; the destructor waits for what is running.  Threads: any.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "transport/base/guarded.h"

namespace farcall::server {

class WaiterPool {
 public:
  using Job = std::function<void()>;
  WaiterPool() = default;
  ~WaiterPool();
  WaiterPool(const WaiterPool&) = delete;
  WaiterPool& operator=(const WaiterPool&) = delete;

  // False when there is no thread for it: the system has none to give, or the session has
  // limits::kWaitersMax.
  bool run(Job job);
  // Waits until every job has ended.
  void wait_idle();
  std::size_t threads();

 private:
  struct State {
    std::deque<Job> jobs;
    std::vector<std::thread> threads;
    std::size_t parked = 0;
    std::size_t running = 0;
    bool stop = false;
  };
  void serve();

  Guarded<State> state_;
  std::condition_variable work_;
  std::condition_variable idle_;
};

}  // namespace farcall::server
