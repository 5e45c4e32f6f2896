// Stream: a queue of work that one thread runs in order.
//
//   stream->push(Task{{earlier}, {[] { copy(); }}, done});      // under the context's order lock
//   stream->tail()->wait();
//   if (stream->idle()) stream->claim(done);                    // … and does the work itself
//
// A stream's thread starts with its first task and ends when the stream is closed and empty, so an
// unused stream costs a few words. Order between streams is only ever expressed by Task::after.
// Every `after` was pushed before the task that names it, so the waits cannot form a circle.
// Who queues work faster than it is done waits for room, as with any driver: await_room(), before
// the order lock.
// Owner: its context, by shared_ptr; closing never waits.
// Threads: push and tail need the context's order lock; the rest any thread.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/completion.h"

namespace farcall::softgpu {

class Capture;
class Context;
struct NodeParams;

// Work that may stand in a stream's queue: as much as NVIDIA's drivers are seen to take before a
// launch waits. It bounds what a program that never synchronizes makes us keep.
inline constexpr std::size_t kStreamTasksMax = 1024;

// How long a piece of work holds up the thread that does it.
enum class Effort {
  kLong,   // unknown, or more than a few µs, or it waits for somebody
  kBrief,  // a few µs at most: waking a stream's thread would take longer
  kNone,   // nothing at all happens
};

// Something a stream does. It may run many times: graphs replay it.
struct Work {
  std::function<void()> run;
  bool even_if_broken = false;  // callbacks run, and are told, after a fault; kernels do not
  Effort effort = Effort::kLong;
  std::shared_ptr<const NodeParams> params =
      nullptr;  // of what is, or will be, a graph's node; else null
};

struct Task {
  std::vector<CompletionPtr> after;
  Work work;
  CompletionPtr done;
};

// Does the work, unless its context is broken, and says so.
void carry_out(Work work, Completion& done, const std::atomic<int>& broken);

enum class StreamKind {
  kLegacy,       // the NULL stream: waits for every blocking stream, and they for it
  kBlocking,     // cuStreamCreate's default; also each thread's own default stream
  kNonBlocking,  // CU_STREAM_NON_BLOCKING: knows nothing of the NULL stream
};

class Stream {
 public:
  // broken  non-zero once the context met a fault; outlives every task pushed here
  Stream(Context& context, StreamKind kind, int priority, const std::atomic<int>& broken);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Returns when fewer than kStreamTasksMax tasks are queued. Threads that come at the same time
  // may each add one more.
  void await_room();
  // Threads inside await_room() that found none.
  int waiting_for_room() const;
  void push(Task task);
  // The caller does the next piece of work itself, outside the lock, and then finishes `done`.
  // Only while idle() and nothing else must come first; whatever is pushed later follows it.
  void claim(CompletionPtr done) { tail_ = claimed_ = std::move(done); }
  // The last task's completion; null while nothing was pushed.
  const CompletionPtr& tail() const { return tail_; }
  bool idle() const { return tail_ == nullptr || tail_->done(); }

  Context& context() const { return context_; }
  StreamKind kind() const { return kind_; }
  int priority() const { return priority_; }
  std::uint64_t id() const { return id_; }
  // CU_STREAM_NON_BLOCKING or 0.
  unsigned flags() const { return kind_ == StreamKind::kNonBlocking ? 1U : 0U; }

  // The capture this stream takes part in, or null. Order lock of the context.
  std::shared_ptr<Capture> capture;
  std::atomic<bool> in_capture{false};  // capture != null, readable without the lock

 private:
  struct Queue;
  static void serve(const std::shared_ptr<Queue>& queue);

  Context& context_;
  const StreamKind kind_;
  const int priority_;
  const std::uint64_t id_;
  CompletionPtr tail_;
  CompletionPtr claimed_;         // the queue does not know of it
  std::shared_ptr<Queue> queue_;  // shared with the thread, which may outlive us
};

}  // namespace farcall::softgpu
