#include "gpu_server/software_gpu/stream.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "transport/base/clock.h"

namespace farcall::softgpu {
namespace {

std::uint64_t next_stream_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

struct Stream::Queue {
  explicit Queue(const std::atomic<int>& state) : broken(state) {}
  std::mutex mutex;
  std::condition_variable changed;
  std::condition_variable has_room;
  std::deque<Task> tasks;
  std::atomic<std::size_t> size{0};  // tasks.size(), for a look without the lock
  std::atomic<int> waiting{0};       // for room; changed under the lock
  bool closing = false;
  bool started = false;
  const std::atomic<int>& broken;
};

Stream::Stream(Context& context, StreamKind kind, int priority, const std::atomic<int>& broken)
    : context_(context),
      kind_(kind),
      priority_(priority),
      id_(next_stream_id()),
      queue_(std::make_shared<Queue>(broken)) {}

Stream::~Stream() {
  {
    std::lock_guard lock(queue_->mutex);
    queue_->closing = true;
  }
  queue_->changed.notify_all();
}

void Stream::await_room() {
  if (queue_->size.load(std::memory_order_relaxed) < kStreamTasksMax) return;
  std::unique_lock lock(queue_->mutex);
  ++queue_->waiting;
  queue_->has_room.wait(lock, [this] { return queue_->tasks.size() < kStreamTasksMax; });
  --queue_->waiting;
}

int Stream::waiting_for_room() const { return queue_->waiting.load(); }

void Stream::push(Task task) {
  if (claimed_ && !claimed_->done()) task.after.push_back(claimed_);
  claimed_ = nullptr;
  tail_ = task.done;
  bool start = false;
  {
    std::lock_guard lock(queue_->mutex);
    queue_->tasks.push_back(std::move(task));
    queue_->size.store(queue_->tasks.size(), std::memory_order_relaxed);
    start = !queue_->started;
    queue_->started = true;
  }
  // Detached: cudart's atexit handler may call us while the thread is still there, and nothing may
  // join a thread at that point.
  if (start) {
    std::thread([queue = queue_] { serve(queue); }).detach();
  } else {
    queue_->changed.notify_one();
  }
}

void Stream::serve(const std::shared_ptr<Queue>& queue) {
  for (;;) {
    Task task;
    {
      std::unique_lock lock(queue->mutex);
      queue->changed.wait(lock, [&] { return !queue->tasks.empty() || queue->closing; });
      if (queue->tasks.empty()) return;
      task = std::move(queue->tasks.front());
      queue->tasks.pop_front();
      queue->size.store(queue->tasks.size(), std::memory_order_relaxed);
      if (queue->waiting != 0) queue->has_room.notify_one();
    }
    for (const CompletionPtr& earlier : task.after) earlier->wait();
    carry_out(std::move(task.work), *task.done, queue->broken);
  }
}

void carry_out(Work work, Completion& done, const std::atomic<int>& broken) {
  const bool skip = broken.load(std::memory_order_acquire) != 0 && !work.even_if_broken;
  if (work.run && !skip) work.run();
  // What the work held (a module, a buffer) goes before anybody learns that it is over.
  work.run = nullptr;
  done.finish(system_clock().now_ns());
}

}  // namespace farcall::softgpu
