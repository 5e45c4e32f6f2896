// Event: a remembered point in a stream, or in a whole context.
//
//   event->record({context.mark(*stream)});
//   if (!event->done()) …
//
// An event never recorded counts as done, as in CUDA. Recording again forgets the old point; who
// already waits for the old one keeps doing so.
// Owner: handle table and waiters.  Threads: any.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/completion.h"
#include "gpu_server/software_gpu/stream.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Capture;
struct GraphNode;

class Event {
 public:
  Event(Context& context, unsigned flags) : context_(context), flags_(flags) {}

  Context& context() const { return context_; }
  bool timed() const { return (flags_ & CU_EVENT_DISABLE_TIMING) == 0; }

  void record(std::vector<CompletionPtr> points) {
    auto state = state_.lock();
    *state = {std::move(points), true, nullptr, {}};
  }
  // Recorded in a stream that is being captured: it marks nodes, not a moment.
  void record_captured(std::shared_ptr<Capture> capture, std::vector<GraphNode*> nodes) {
    auto state = state_.lock();
    *state = {{}, true, std::move(capture), std::move(nodes)};
  }
  // The capture it was last recorded in, or null.
  std::shared_ptr<Capture> captured(std::vector<GraphNode*>* nodes) {
    auto state = state_.lock();
    *nodes = state->nodes;
    return state->capture;
  }
  bool recorded() { return state_.lock()->recorded; }
  std::vector<CompletionPtr> points() { return state_.lock()->points; }
  bool done() {
    auto state = state_.lock();
    return std::all_of(state->points.begin(), state->points.end(),
                       [](const CompletionPtr& point) { return point->done(); });
  }
  // When the last point was reached; call only when done().
  std::int64_t when_ns() {
    std::int64_t latest = 0;
    for (const CompletionPtr& point : points()) latest = std::max(latest, point->when_ns());
    return latest;
  }

 private:
  struct State {
    std::vector<CompletionPtr> points;
    bool recorded = false;
    std::shared_ptr<Capture> capture;
    std::vector<GraphNode*> nodes;
  };
  Context& context_;
  const unsigned flags_;
  Guarded<State> state_;
};

}  // namespace farcall::softgpu
