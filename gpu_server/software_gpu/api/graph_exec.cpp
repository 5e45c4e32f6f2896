// Instantiated graphs: made, launched, changed.
// Source: CUDA Driver API 13.0, Graph Management.
#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/captures.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph.h"
#include "gpu_server/software_gpu/graph_params.h"

namespace farcall::softgpu {
namespace {

// Whether an instance of a graph with memory nodes is alive, of one of its inner graphs too. Looks
// at no other instance: those are other threads'.
bool has_live_instance(const Graph& graph) {
  for (const auto& node : graph.nodes) {
    const auto& params = node->work.params;
    if (!params) continue;
    if (params->instances && params->instances.use_count() > 1) return true;
    if (!params->inner) continue;
    for (const auto& inner : params->inner->graphs) {
      if (has_live_instance(*inner)) return true;
    }
  }
  return false;
}

CUresult instantiate(CUgraphExec* handle, CUgraph graph_handle, unsigned long long flags) {
  if (CUresult failed = require_driver()) return failed;
  auto graph = driver().graphs.find(graph_handle);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  if (handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  constexpr unsigned long long kKnown =
      CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
      CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  if ((flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  // "Only one instantiation of the graph may exist at any point in time" (cuGraphAddMemAllocNode).
  if (has_live_instance(*graph)) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<GraphExec> exec;
  if (CUresult failed = GraphExec::make(*graph, &exec)) return failed;
  exec->flags = flags;
  *handle = driver().graph_execs.add<CUgraphExec>(std::move(exec));
  return CUDA_SUCCESS;
}

CUresult find_exec(CUgraphExec handle, std::shared_ptr<GraphExec>* exec) {
  if (CUresult failed = require_driver()) return failed;
  *exec = driver().graph_execs.find(handle);
  return *exec ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_step(CUgraphExec handle, CUgraphNode node, std::shared_ptr<GraphExec>* exec,
                   GraphExec::Step** step) {
  if (CUresult failed = find_exec(handle, exec)) return failed;
  auto at = (*exec)->step_of.find(reinterpret_cast<const GraphNode*>(node));
  if (at == (*exec)->step_of.end()) return CUDA_ERROR_INVALID_VALUE;
  *step = &(*exec)->steps[at->second];
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuGraphInstantiateWithFlags(CUgraphExec* phGraphExec, CUgraph hGraph,
                                     unsigned long long flags) {
  return instantiate(phGraphExec, hGraph, flags);
}

CUresult cuGraphInstantiate_v2(CUgraphExec* phGraphExec, CUgraph hGraph, CUgraphNode* phErrorNode,
                               char* logBuffer, size_t bufferSize) {
  if (phErrorNode != nullptr) *phErrorNode = nullptr;
  if (logBuffer != nullptr && bufferSize != 0) logBuffer[0] = 0;
  return instantiate(phGraphExec, hGraph, 0);
}

CUresult cuGraphInstantiate(CUgraphExec* phGraphExec, CUgraph hGraph, CUgraphNode* phErrorNode,
                            char* logBuffer, size_t bufferSize) {
  return cuGraphInstantiate_v2(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec* phGraphExec, CUgraph hGraph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* instantiateParams) {
  if (instantiateParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult result = instantiate(phGraphExec, hGraph, instantiateParams->flags);
  instantiateParams->hErrNode_out = nullptr;
  instantiateParams->result_out = result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS
                                  : result == CUDA_ERROR_INVALID_VALUE
                                      ? CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE
                                      : CUDA_GRAPH_INSTANTIATE_ERROR;
  return result;
}

CUresult cuGraphExecGetFlags(CUgraphExec hGraphExec, cuuint64_t* flags) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult failed = find_exec(hGraphExec, &exec)) return failed;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = exec->flags;
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec hGraphExec) {
  if (CUresult failed = require_driver()) return failed;
  return driver().graph_execs.remove(hGraphExec) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphLaunch(CUgraphExec hGraph, CUstream hStream) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult failed = find_exec(hGraph, &exec)) return failed;
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  GraphMemory::Pointers held;
  if (!capturing(*stream)) {
    if (CUresult no = forbid_legacy(*stream)) return no;
    if (CUresult failed = exec->begin_memory(&held)) return failed;
  }
  return queue(*stream, exec->work(stream->context(), std::move(held)), CU_GRAPH_NODE_TYPE_GRAPH);
}

CUresult cuGraphUpload(CUgraphExec hGraph, CUstream hStream) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult failed = find_exec(hGraph, &exec)) return failed;
  std::shared_ptr<Stream> stream;
  return find_stream(hStream, &stream);
}

CUresult cuGraphExecUpdate_v2(CUgraphExec hGraphExec, CUgraph hGraph,
                              CUgraphExecUpdateResultInfo* resultInfo) {
  std::shared_ptr<GraphExec> exec;
  if (CUresult failed = find_exec(hGraphExec, &exec)) return failed;
  auto graph = driver().graphs.find(hGraph);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  if (resultInfo == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return exec->update(*graph, resultInfo);
}

CUresult cuGraphExecUpdate(CUgraphExec hGraphExec, CUgraph hGraph, CUgraphNode* hErrorNode_out,
                           CUgraphExecUpdateResult* updateResult_out) {
  if (updateResult_out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUgraphExecUpdateResultInfo info{};
  const CUresult result = cuGraphExecUpdate_v2(hGraphExec, hGraph, &info);
  if (hErrorNode_out != nullptr) *hErrorNode_out = info.errorNode;
  *updateResult_out = info.result;
  return result;
}

CUresult cuGraphNodeSetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned isEnabled) {
  std::shared_ptr<GraphExec> exec;
  GraphExec::Step* step = nullptr;
  if (CUresult failed = find_step(hGraphExec, hNode, &exec, &step)) return failed;
  step->enabled = isEnabled != 0;
  return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetEnabled(CUgraphExec hGraphExec, CUgraphNode hNode, unsigned* isEnabled) {
  std::shared_ptr<GraphExec> exec;
  GraphExec::Step* step = nullptr;
  if (CUresult failed = find_step(hGraphExec, hNode, &exec, &step)) return failed;
  if (isEnabled == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *isEnabled = step->enabled ? 1 : 0;
  return CUDA_SUCCESS;
}
}
