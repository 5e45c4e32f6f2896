// Relief: finds another thread to receive calls when the one that does so is held up by a wait.
//
//   Relief relief(pool, [&] { return link.has_arrived(); }, [this] { lead(); });
//   relief.offer();             // the leader, before a call that may wait for the GPU
//   …the call…
//   if (!relief.take_back()) return;             // another leads now
//
// Waking a thread costs more than most waits last, and a client that waits with its only thread
// sends nothing meanwhile. So the leader does the waiting itself and only offers the lead. A watch
// looks every millisecond while there are waits; when a wait has lasted from one look to the next
// and something has arrived, a thread of the pool takes the lead. A call of another client thread
// is held up by two looks at most.
// Owner: an Executor.  Threads: offer() and take_back() the leader; stop() any, once.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <thread>

#include "gpu_server/waiter_pool.h"
#include "transport/base/guarded.h"

namespace farcall::server {

class Relief {
 public:
  // is_needed: has anything arrived?  lead: what the new leader does.  Both run on other threads.
  Relief(WaiterPool& pool, std::function<bool()> is_needed, std::function<void()> lead);
  ~Relief() { stop(); }
  Relief(const Relief&) = delete;
  Relief& operator=(const Relief&) = delete;

  void offer();
  // True: still the leader.
  bool take_back();
  // Nobody takes the lead any more; the watch has ended when this returns.
  void stop();

 private:
  struct State {
    bool parked = true;
    bool stop = false;
    std::thread watch;
  };
  void wake();
  void serve();
  // One look. True while there is a reason for another one soon.
  bool look();
  bool claim(std::uint64_t turn);

  WaiterPool& pool_;
  const std::function<bool()> is_needed_;
  const std::function<void()> lead_;
  // Even: somebody leads. Odd: the leader waits, and who makes it even first leads.
  std::atomic<std::uint64_t> turn_{0};
  std::uint64_t mine_ = 0;  // the leader's: the turn it offered
  std::atomic<bool> parked_{true};
  std::uint64_t seen_ = 0;   // the watch's: turn_ at its last look
  int still_ = 0;            // the watch's: looks in a row that saw no change
  std::uint64_t asked_ = 0;  // the watch's: the turn for which the pool has a thread
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace farcall::server
