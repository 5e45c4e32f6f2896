// Completion: the moment one piece of queued work was over.
//
//   auto done = stream.push(task);  …  done->wait();
//
// Owner: shared by the queue, by the events that recorded it and by work that must follow it.
// Threads: any may ask or wait; one finishes it, once.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace farcall::softgpu {

class Completion {
 public:
  bool done() const { return done_.load(std::memory_order_acquire) != 0; }
  void wait() const {
    while (!done()) done_.wait(0, std::memory_order_acquire);
  }
  void finish(std::int64_t now_ns) {
    when_ns_ = now_ns;
    done_.store(1, std::memory_order_release);
    done_.notify_all();
  }
  // Monotonic; valid once done() answered true.
  std::int64_t when_ns() const { return when_ns_; }

 private:
  std::atomic<std::uint32_t> done_{0};
  std::int64_t when_ns_ = 0;
};

using CompletionPtr = std::shared_ptr<Completion>;

}  // namespace farcall::softgpu
