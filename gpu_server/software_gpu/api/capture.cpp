// Stream capture.
// Source: CUDA Driver API 13.0, Stream Management.
#include "gpu_server/software_gpu/capture.h"

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

struct Target {
  std::shared_ptr<Graph> graph;
  bool is_ours;  // made for this capture
  std::vector<GraphNode*> after;
};

bool is_mode(CUstreamCaptureMode mode) {
  return mode >= CU_STREAM_CAPTURE_MODE_GLOBAL && mode <= CU_STREAM_CAPTURE_MODE_RELAXED;
}

CUresult begin(CUstream handle, Target target, CUstreamCaptureMode mode) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(handle, &stream)) return failed;
  if (!is_mode(mode)) return CUDA_ERROR_INVALID_VALUE;
  // Work of the legacy stream has an order with all other streams, which no graph could keep.
  if (stream->kind() == StreamKind::kLegacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  auto capture = std::make_shared<Capture>(std::move(target.graph), target.is_ours, *stream, mode);
  capture->set_frontier(*stream, std::move(target.after));
  {
    std::lock_guard lock(stream->context().order());
    if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    capture->join(stream->context());
    stream->capture = capture;
    stream->in_capture.store(true, std::memory_order_release);
  }
  driver().captures.begun(std::move(capture));
  return CUDA_SUCCESS;
}

CUresult nodes_of(const Graph& graph, const CUgraphNode* handles, std::size_t count,
                  std::vector<GraphNode*>* nodes) {
  if (handles == nullptr && count != 0) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < count; ++i) {
    auto node = driver().graph_nodes.find(handles[i]);
    if (!node || node->graph != &graph) return CUDA_ERROR_INVALID_VALUE;
    nodes->push_back(node.get());
  }
  return CUDA_SUCCESS;
}

struct Info {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  cuuint64_t id = 0;
  CUgraph graph = nullptr;
  const CUgraphNode* nodes = nullptr;
  std::size_t count = 0;
};

CUresult inspect(CUstream handle, Info* info) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(handle, &stream)) return failed;
  if (CUresult no = judge_legacy(*stream)) return no;
  auto capture = capture_of(*stream);
  if (!capture) return CUDA_SUCCESS;
  info->status =
      capture->valid() ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  info->id = capture->id();
  info->graph = reinterpret_cast<CUgraph>(capture->graph().get());
  // Valid until the stream's next call, as CUDA says; so the thread may own the list.
  thread_local std::vector<CUgraphNode>* answer = new std::vector<CUgraphNode>;
  answer->clear();
  for (GraphNode* node : capture->frontier(*stream)) answer->push_back(node->handle());
  info->nodes = answer->data();
  info->count = answer->size();
  return CUDA_SUCCESS;
}

template <class T>
void tell(T* out, T value) {
  if (out != nullptr) *out = value;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode) {
  auto graph = std::make_shared<Graph>();
  driver().graphs.add<CUgraph>(graph);
  const CUresult result = begin(hStream, {graph, true, {}}, mode);
  if (result != CUDA_SUCCESS) driver().graphs.remove(graph.get());
  return result;
}

CUresult cuStreamBeginCapture(CUstream hStream) {
  return cuStreamBeginCapture_v2(hStream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult cuStreamBeginCaptureToGraph(CUstream hStream, CUgraph hGraph,
                                     const CUgraphNode* dependencies, const CUgraphEdgeData*,
                                     size_t numDependencies, CUstreamCaptureMode mode) {
  if (CUresult failed = require_driver()) return failed;
  auto graph = driver().graphs.find(hGraph);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  std::vector<GraphNode*> after;
  if (CUresult failed = nodes_of(*graph, dependencies, numDependencies, &after)) return failed;
  return begin(hStream, {std::move(graph), false, std::move(after)}, mode);
}

CUresult cuStreamEndCapture(CUstream hStream, CUgraph* phGraph) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  auto capture = capture_of(*stream);
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (!capture->is_origin(*stream)) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode() != CU_STREAM_CAPTURE_MODE_RELAXED && !capture->is_of_this_thread()) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  const bool is_joined = capture->is_joined();
  end_capture(*capture);
  if (!capture->valid() || !is_joined) {
    tell(phGraph, CUgraph{nullptr});
    if (capture->owns_graph()) driver().graphs.remove(capture->graph().get());
    return capture->valid() ? CUDA_ERROR_STREAM_CAPTURE_UNJOINED
                            : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  if (phGraph == nullptr && capture->owns_graph()) driver().graphs.remove(capture->graph().get());
  tell(phGraph, reinterpret_cast<CUgraph>(capture->graph().get()));
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus* captureStatus) {
  if (captureStatus == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Info info;
  if (CUresult failed = inspect(hStream, &info)) return failed;
  *captureStatus = info.status;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo_v3(CUstream hStream, CUstreamCaptureStatus* captureStatus_out,
                                   cuuint64_t* id_out, CUgraph* graph_out,
                                   const CUgraphNode** dependencies_out,
                                   const CUgraphEdgeData** edgeData_out,
                                   size_t* numDependencies_out) {
  if (captureStatus_out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Info info;
  if (CUresult failed = inspect(hStream, &info)) return failed;
  *captureStatus_out = info.status;
  tell(id_out, info.id);
  tell(graph_out, info.graph);
  tell(dependencies_out, info.nodes);
  tell(edgeData_out, static_cast<const CUgraphEdgeData*>(nullptr));
  tell(numDependencies_out, info.count);
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo_v2(CUstream hStream, CUstreamCaptureStatus* captureStatus_out,
                                   cuuint64_t* id_out, CUgraph* graph_out,
                                   const CUgraphNode** dependencies_out,
                                   size_t* numDependencies_out) {
  return cuStreamGetCaptureInfo_v3(hStream, captureStatus_out, id_out, graph_out, dependencies_out,
                                   nullptr, numDependencies_out);
}

CUresult cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus* captureStatus_out,
                                cuuint64_t* id_out) {
  return cuStreamGetCaptureInfo_v3(hStream, captureStatus_out, id_out, nullptr, nullptr, nullptr,
                                   nullptr);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream hStream, CUgraphNode* dependencies,
                                              const CUgraphEdgeData*, size_t numDependencies,
                                              unsigned flags) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  auto capture = capture_of(*stream);
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  std::vector<GraphNode*> nodes;
  if (CUresult failed = nodes_of(*capture->graph(), dependencies, numDependencies, &nodes)) {
    return failed;
  }
  if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
    capture->set_frontier(*stream, std::move(nodes));
  } else {
    capture->extend_frontier(*stream, nodes);
  }
  return CUDA_SUCCESS;
}

CUresult cuStreamUpdateCaptureDependencies(CUstream hStream, CUgraphNode* dependencies,
                                           size_t numDependencies, unsigned flags) {
  return cuStreamUpdateCaptureDependencies_v2(hStream, dependencies, nullptr, numDependencies,
                                              flags);
}
}
