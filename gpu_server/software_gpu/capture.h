// Capture: a stream that writes its work into a graph instead of doing it; and `queue`, the one
// door through which asynchronous work passes.
//
//   return queue(*stream, {[plan] { … }}, CU_GRAPH_NODE_TYPE_MEMCPY);
//
// A capture begins on one stream and spreads to others through events: a stream that waits for an
// event recorded in a capture joins it. What captures forbid to other calls: captures.h.
// Owner: the streams that take part, and events recorded in it.
// Threads: any; its data is under its own lock.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "gpu_server/software_gpu/graph.h"
#include "gpu_server/software_gpu/stream.h"
#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Event;

class Capture {
 public:
  // Of the calling thread.
  Capture(std::shared_ptr<Graph> graph, bool owns_graph, const Stream& origin,
          CUstreamCaptureMode mode);

  bool is_origin(const Stream& stream) const { return &stream == origin_; }
  std::uint64_t id() const { return id_; }
  CUstreamCaptureMode mode() const { return mode_; }
  // Whether the calling thread began it.
  bool is_of_this_thread() const { return thread_ == std::this_thread::get_id(); }
  const std::shared_ptr<Graph>& graph() const { return graph_; }
  bool owns_graph() const { return owns_graph_; }

  void append(const Stream& stream, CUgraphNodeType type, Work work);
  // The nodes that the stream's next node will follow.
  std::vector<GraphNode*> frontier(const Stream& stream);
  void extend_frontier(const Stream& stream, const std::vector<GraphNode*>& more);
  void set_frontier(const Stream& stream, std::vector<GraphNode*> nodes);
  // Whether all work of other streams comes before what the origin has done or waited for.
  bool is_joined();
  // Notes that streams of `context` take part. False once it is over.
  bool join(Context& context);
  // It is over: events recorded in it mark nothing any more. The contexts whose streams took part.
  std::vector<Context*> end();
  bool began_in(const Context& context) const { return &origin_context_ == &context; }
  bool is_over() const { return over_.load(); }
  void invalidate() { state_.lock()->valid = false; }
  bool valid() { return state_.lock()->valid; }

 private:
  struct State {
    std::map<const Stream*, std::vector<GraphNode*>> frontier;
    bool valid = true;
  };
  const std::shared_ptr<Graph> graph_;
  const bool owns_graph_;
  const Stream* const origin_;
  const Context& origin_context_;
  const CUstreamCaptureMode mode_;
  const std::thread::id thread_ = std::this_thread::get_id();
  const std::uint64_t id_;
  std::atomic<bool> over_{false};
  Guarded<State> state_;
  // As good as for ever: shells of contexts are kept (Driver::retire).
  Guarded<std::vector<Context*>> contexts_;
};

std::shared_ptr<Capture> capture_of(Stream& stream);
bool capturing(Stream& stream);
// Runs the work in its turn, or writes it down if the stream is being captured.
CUresult queue(Stream& stream, Work work, CUgraphNodeType type);
// A call that may not be captured ends the capture, as in CUDA.
CUresult refuse_in_capture(Stream& stream);

// Lets all its streams go, of whichever contexts.
void end_capture(Capture& capture);
// Ends a capture that nobody can end any more, and the graph that was made for it.
void abandon(Capture& capture);
// The stream goes: a capture that began on it can never be ended.
void abandon_capture(Stream& stream);

CUresult record_event(Stream& stream, Event& event);
CUresult wait_event(Stream& stream, Event& event);

}  // namespace farcall::softgpu
