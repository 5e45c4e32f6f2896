// Pager: the one thread that moves mirrored memory, for threads that cannot do it themselves: a
// thread that touched a protected page sits in a signal handler, perhaps in the middle of malloc.
//
//   Pager pager(touch_function, begin_function, self);
//   CUresult moved = pager.run([&] { … });          // an ordinary call: waits for it
//   CUresult touched = pager.touch(address, true);  // the same from inside a signal handler
//
// What it does it does one after the other, so what it works on needs no lock. It makes calls of
// its own, as a thread of its own: a failure that a program's thread is owed stays owed.
// Owner: Mirrors; leaked with it.  Threads: any; touch() is async-signal-safe. The thread starts
// with start() and blocks every signal.
#pragma once
#include <atomic>
#include <cstdint>

#include <pthread.h>

#include "transport/base/function_ref.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class Pager {
 public:
  using Touch = CUresult (*)(void* self, std::uint64_t address, bool is_write);
  using Begin = bool (*)(void* self);
  Pager(Touch touch, Begin begin, void* self) : touch_(touch), begin_(begin), self_(self) {}

  // False when there is no thread to be had. Once; the owner's lock.
  bool start();
  // Runs `work` on the thread and returns what it does. On the thread itself: at once.
  CUresult run(FunctionRef<CUresult()> work);
  CUresult touch(std::uint64_t address, bool is_write);
  bool is_this_thread() const;

 private:
  struct Request {
    const FunctionRef<CUresult()>* work = nullptr;  // null: a touch
    std::uint64_t address = 0;
    bool is_write = false;
    CUresult result = CUDA_SUCCESS;
    std::atomic<int> done{0};
    Request* next = nullptr;
  };
  CUresult hand_over(Request& request);
  CUresult carry_out(const Request& request);
  void serve();

  const Touch touch_;
  const Begin begin_;
  void* const self_;
  std::atomic<Request*> waiting_{nullptr};  // the latest first
  std::atomic<int> rings_{0};
  std::atomic<bool> runs_{false};
  pthread_t thread_{};
};

}  // namespace farcall::shim
