// CryptoPool: a few threads that seal and open records beside the thread that sends or receives.
//
//   job.plain = …;  pool.submit(job);          // a helper takes it, if one comes round to it
//   pool.finish(job);                          // done when this returns; by ourselves if need be
//
// A caller never waits for a helper that has not begun: then it does the work itself, so a busy
// machine is no slower than one without helpers.
// Owner: the process, here(); tests make their own.  Threads: any; a job belongs to one caller.
// Never blocks a program's signals from it: helpers take none.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/link/crypto_load.h"

namespace farcall::link {

class CryptoPool {
 public:
  // One piece of work. Must outlive finish(); may be submitted again after it.
  class Job {
   public:
    virtual ~Job() = default;
    virtual void work() = 0;  // on any thread

   private:
    friend class CryptoPool;
    enum class State { kIdle, kWaiting, kRunning, kDone };
    State state_ = State::kIdle;  // under the pool's lock
  };

  // threads: to begin with; 0 is a pool in which every caller works for itself.
  // most: that there may be, where they are busy (crypto_load.h).
  explicit CryptoPool(unsigned threads, unsigned most = 0);
  ~CryptoPool();  // no job may be under way
  CryptoPool(const CryptoPool&) = delete;
  CryptoPool& operator=(const CryptoPool&) = delete;

  // The pool of this process: none for the threads of one or two cores, which are busy with sending
  // and receiving, 1 from three cores on, 2 from eight on, and more while these are busy, up to
  // half of the cores and limits::kCryptoThreadsMax. FARCALL_CRYPTO_THREADS says how many there
  // are, for good. Threads start at the first call; the child of a fork gets a pool of its own.
  static CryptoPool& here();

  // What became of the jobs so far.
  struct Counts {
    unsigned threads = 0;
    std::uint64_t by_helpers = 0;
    std::uint64_t by_callers = 0;  // no helper had come round to them
    double load = 0;               // of the helpers, in the last second in which they were asked
    std::uint64_t alerts = 0;      // that they were busy and there was no other to start
  };
  Counts counts();
  // Of this process's pool; all 0 while nothing has needed one.
  static Counts counts_here();

  unsigned threads() const { return threads_.load(std::memory_order_relaxed); }
  void submit(Job& job);
  void finish(Job& job);

 private:
  struct State {
    std::deque<Job*> waiting;
    std::uint64_t by_helpers = 0;
    std::uint64_t by_callers = 0;
    std::uint64_t busy_ns = 0;
    bool stop = false;
    CryptoLoad load{0};
    std::vector<std::thread> helpers;
  };
  void serve();
  // False when the system has no thread for it.
  bool start_one(State& state);

  Guarded<State> state_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::atomic<unsigned> threads_{0};
};

}  // namespace farcall::link
