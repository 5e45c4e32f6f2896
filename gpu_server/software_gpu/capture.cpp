#include "gpu_server/software_gpu/capture.h"

#include <algorithm>
#include <set>

#include "gpu_server/software_gpu/captures.h"
#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

std::uint64_t next_capture_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

Capture::Capture(std::shared_ptr<Graph> graph, bool owns_graph, const Stream& origin,
                 CUstreamCaptureMode mode)
    : graph_(std::move(graph)),
      owns_graph_(owns_graph),
      origin_(&origin),
      origin_context_(origin.context()),
      mode_(mode),
      id_(next_capture_id()) {}

void Capture::append(const Stream& stream, CUgraphNodeType type, Work work) {
  auto state = state_.lock();
  std::vector<GraphNode*>& last = state->frontier[&stream];
  GraphNode* node = graph_->add(type, std::move(work), last);
  last = {node};
}

std::vector<GraphNode*> Capture::frontier(const Stream& stream) {
  return state_.lock()->frontier[&stream];
}

void Capture::extend_frontier(const Stream& stream, const std::vector<GraphNode*>& more) {
  auto state = state_.lock();
  std::vector<GraphNode*>& last = state->frontier[&stream];
  for (GraphNode* node : more) {
    if (std::find(last.begin(), last.end(), node) == last.end()) last.push_back(node);
  }
}

void Capture::set_frontier(const Stream& stream, std::vector<GraphNode*> nodes) {
  state_.lock()->frontier[&stream] = std::move(nodes);
}

bool Capture::join(Context& context) {
  auto contexts = contexts_.lock();
  if (over_) return false;
  if (std::find(contexts->begin(), contexts->end(), &context) == contexts->end()) {
    contexts->push_back(&context);
  }
  return true;
}

std::vector<Context*> Capture::end() {
  auto contexts = contexts_.lock();
  over_ = true;
  return std::move(*contexts);
}

bool Capture::is_joined() {
  auto state = state_.lock();
  std::set<const GraphNode*> before;
  std::vector<const GraphNode*> next;
  for (GraphNode* node : state->frontier[origin_]) next.push_back(node);
  while (!next.empty()) {
    const GraphNode* node = next.back();
    next.pop_back();
    if (!before.insert(node).second) continue;
    next.insert(next.end(), node->after.begin(), node->after.end());
  }
  for (const auto& [stream, nodes] : state->frontier) {
    for (const GraphNode* node : nodes) {
      if (!before.contains(node)) return false;
    }
  }
  return true;
}

std::shared_ptr<Capture> capture_of(Stream& stream) {
  if (!stream.in_capture.load(std::memory_order_acquire)) return nullptr;
  std::lock_guard lock(stream.context().order());
  return stream.capture;
}

bool capturing(Stream& stream) { return stream.in_capture.load(std::memory_order_acquire); }

CUresult queue(Stream& stream, Work work, CUgraphNodeType type) {
  if (CUresult no = forbid_legacy(stream)) return no;
  if (auto capture = capture_of(stream)) {
    if (!capture->valid()) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    capture->append(stream, type, std::move(work));
    return CUDA_SUCCESS;
  }
  stream.context().submit(stream, std::move(work));
  return CUDA_SUCCESS;
}

CUresult refuse_in_capture(Stream& stream) {
  if (auto capture = capture_of(stream)) capture->invalidate();
  return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

void end_capture(Capture& capture) {
  driver().captures.ended(capture);
  for (Context* context : capture.end()) context->end_capture(capture);
}

void abandon(Capture& capture) {
  capture.invalidate();
  end_capture(capture);
  if (capture.owns_graph()) driver().graphs.remove(capture.graph().get());
}

void abandon_capture(Stream& stream) {
  auto capture = capture_of(stream);
  if (capture && capture->is_origin(stream)) abandon(*capture);
}

CUresult record_event(Stream& stream, Event& event) {
  if (CUresult no = forbid_legacy(stream)) return no;
  if (auto capture = capture_of(stream)) {
    if (!capture->valid()) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event.record_captured(capture, capture->frontier(stream));
    return CUDA_SUCCESS;
  }
  event.record({stream.context().mark(stream)});
  return CUDA_SUCCESS;
}

CUresult wait_event(Stream& stream, Event& event) {
  if (CUresult no = forbid_legacy(stream)) return no;
  std::vector<GraphNode*> nodes;
  if (auto capture = event.captured(&nodes); capture && !capture->is_over()) {
    auto own = capture_of(stream);
    if (!capture->valid() || (own && !own->valid())) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (own && own != capture) {
      own->invalidate();
      capture->invalidate();
      return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (!own) {
      if (stream.kind() == StreamKind::kLegacy) {
        capture->invalidate();
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
      std::lock_guard lock(stream.context().order());
      if (!capture->join(stream.context()))
        return CUDA_SUCCESS;  // just over: the event marks nothing
      stream.capture = capture;
      stream.in_capture.store(true, std::memory_order_release);
    }
    capture->extend_frontier(stream, nodes);
    return CUDA_SUCCESS;
  }
  if (capturing(stream)) {
    // An event from outside has no node to follow; CUDA refuses it too.
    if (auto own = capture_of(stream)) own->invalidate();
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  for (const CompletionPtr& point : event.points()) stream.context().submit_after(stream, point);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
