// Making graph nodes, and giving them, or what was instantiated from them, new parameters.
// Source: CUDA Driver API 13.0, Graph Management.
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_work.h"

namespace farcall::softgpu {
namespace {

struct Place {
  CUgraphNode* node;
  CUgraph graph;
  const CUgraphNode* after;
  std::size_t count;
  const CUgraphEdgeData* edges = nullptr;
};

CUresult add_node(const Place& place, CUgraphNodeType type, Work work) {
  if (CUresult failed = require_driver()) return failed;
  auto graph = driver().graphs.find(place.graph);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  if (place.node == nullptr || (place.after == nullptr && place.count != 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::vector<GraphNode*> after;
  for (std::size_t i = 0; i < place.count; ++i) {
    auto earlier = driver().graph_nodes.find(place.after[i]);
    if (!earlier || earlier->graph != graph.get()) return CUDA_ERROR_INVALID_VALUE;
    after.push_back(earlier.get());
  }
  GraphNode* made = graph->add(type, std::move(work), std::move(after));
  for (std::size_t i = 0; place.edges != nullptr && i < place.count; ++i) {
    made->set_edge_data(*made->after[i], place.edges[i]);
  }
  *place.node = made->handle();
  return CUDA_SUCCESS;
}

// Makes the work from `params` by `maker` and adds a node of it.
template <class Params, class Maker>
CUresult add(const Place& place, CUgraphNodeType type, Params* params, Maker maker) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  if (CUresult failed = maker(*params, &work)) return failed;
  return add_node(place, type, std::move(work));
}

// The attributes of a kernel node are set apart from its parameters, and stay.
CUresult keep_attributes(const Work& before, Work* work) {
  const bool is_kernel =
      before.params && before.params->launch && work->params && work->params->launch;
  if (!is_kernel) return CUDA_SUCCESS;
  Work kernel = std::move(*work);
  return with_attributes(kernel, before.params->attributes, work);
}

template <class Params, class Maker>
CUresult set(CUgraphNode handle, CUgraphNodeType type, Params* params, Maker maker) {
  if (CUresult failed = require_driver()) return failed;
  auto node = driver().graph_nodes.find(handle);
  if (!node) return CUDA_ERROR_INVALID_HANDLE;
  if (params == nullptr || node->type != type) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  if (CUresult failed = maker(*params, &work)) return failed;
  if (CUresult failed = keep_attributes(node->work, &work)) return failed;
  node->work = std::move(work);
  return CUDA_SUCCESS;
}

template <class Params, class Maker>
CUresult set_in(CUgraphExec exec_handle, CUgraphNode handle, CUgraphNodeType type, Params* params,
                Maker maker) {
  if (CUresult failed = require_driver()) return failed;
  auto exec = driver().graph_execs.find(exec_handle);
  if (!exec) return CUDA_ERROR_INVALID_HANDLE;
  auto at = exec->step_of.find(reinterpret_cast<const GraphNode*>(handle));
  if (params == nullptr || at == exec->step_of.end()) return CUDA_ERROR_INVALID_VALUE;
  GraphExec::Step& step = exec->steps[at->second];
  if (step.type != type) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  if (CUresult failed = maker(*params, &work)) return failed;
  if (CUresult failed = keep_attributes(step.work, &work)) return failed;
  return GraphExec::put(step, std::move(work));
}

// What a node allocates or decides cannot be changed afterwards; nor can a graph move into a node
// that there is.
bool is_fixed(const CUgraphNodeParams& params) {
  return params.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
         params.type == CU_GRAPH_NODE_TYPE_MEM_FREE ||
         params.type == CU_GRAPH_NODE_TYPE_CONDITIONAL || is_moving(params);
}

bool holds(const Graph& graph, const Graph& wanted) {
  if (&graph == &wanted) return true;
  for (const auto& node : graph.nodes) {
    if (!node->work.params || !node->work.params->inner) continue;
    for (const auto& inner : node->work.params->inner->graphs) {
      if (holds(*inner, wanted)) return true;
    }
  }
  return false;
}

// A graph inside itself could never be instantiated, nor end.
bool would_hold_itself(CUgraph parent, CUgraph child) {
  auto outer = driver().graphs.find(parent), inner = driver().graphs.find(child);
  return outer && inner && holds(*inner, *outer);
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuGraphAddKernelNode_v2(CUgraphNode* phGraphNode, CUgraph hGraph,
                                 const CUgraphNode* dependencies, size_t numDependencies,
                                 const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_KERNEL,
             nodeParams, kernel_work);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                              const CUgraphNode* dependencies, size_t numDependencies,
                              const CUDA_MEMCPY3D* copyParams, CUcontext) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_MEMCPY,
             copyParams, memcpy_work);
}

CUresult cuGraphAddMemsetNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                              const CUgraphNode* dependencies, size_t numDependencies,
                              const CUDA_MEMSET_NODE_PARAMS* memsetParams, CUcontext) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_MEMSET,
             memsetParams, memset_work);
}

CUresult cuGraphAddHostNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                            const CUgraphNode* dependencies, size_t numDependencies,
                            const CUDA_HOST_NODE_PARAMS* nodeParams) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_HOST,
             nodeParams, host_work);
}

CUresult cuGraphAddChildGraphNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                  const CUgraphNode* dependencies, size_t numDependencies,
                                  CUgraph childGraph) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_GRAPH,
             &childGraph, child_work);
}

CUresult cuGraphAddEmptyNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                             const CUgraphNode* dependencies, size_t numDependencies) {
  return add_node({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_EMPTY,
                  {});
}

CUresult cuGraphAddEventRecordNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                   const CUgraphNode* dependencies, size_t numDependencies,
                                   CUevent event) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_EVENT_RECORD,
             &event, record_work);
}

CUresult cuGraphAddEventWaitNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                 const CUgraphNode* dependencies, size_t numDependencies,
                                 CUevent event) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_WAIT_EVENT,
             &event, wait_work);
}

CUresult cuGraphAddNode_v2(CUgraphNode* phGraphNode, CUgraph hGraph,
                           const CUgraphNode* dependencies, const CUgraphEdgeData* edges,
                           size_t numDependencies, CUgraphNodeParams* nodeParams) {
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (is_moving(*nodeParams) && would_hold_itself(hGraph, nodeParams->graph.graph)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult failed = add({phGraphNode, hGraph, dependencies, numDependencies, edges},
                            nodeParams->type, nodeParams, any_work)) {
    return failed;
  }
  if (is_moving(*nodeParams)) take_child(driver().graph_nodes.find(*phGraphNode)->work);
  return CUDA_SUCCESS;
}

CUresult cuGraphAddNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies,
                        size_t numDependencies, CUgraphNodeParams* nodeParams) {
  return cuGraphAddNode_v2(phGraphNode, hGraph, dependencies, nullptr, numDependencies, nodeParams);
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode hNode,
                                       const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  return set(hNode, CU_GRAPH_NODE_TYPE_KERNEL, nodeParams, kernel_work);
}
CUresult cuGraphMemcpyNodeSetParams(CUgraphNode hNode, const CUDA_MEMCPY3D* nodeParams) {
  return set(hNode, CU_GRAPH_NODE_TYPE_MEMCPY, nodeParams, memcpy_work);
}
CUresult cuGraphMemsetNodeSetParams(CUgraphNode hNode, const CUDA_MEMSET_NODE_PARAMS* nodeParams) {
  return set(hNode, CU_GRAPH_NODE_TYPE_MEMSET, nodeParams, memset_work);
}
CUresult cuGraphHostNodeSetParams(CUgraphNode hNode, const CUDA_HOST_NODE_PARAMS* nodeParams) {
  return set(hNode, CU_GRAPH_NODE_TYPE_HOST, nodeParams, host_work);
}
CUresult cuGraphNodeSetParams(CUgraphNode hNode, CUgraphNodeParams* nodeParams) {
  if (nodeParams == nullptr || is_fixed(*nodeParams)) return CUDA_ERROR_INVALID_VALUE;
  return set(hNode, nodeParams->type, nodeParams, any_work);
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec hGraphExec, CUgraphNode hNode,
                                           const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_KERNEL, nodeParams, kernel_work);
}
CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                        const CUDA_MEMCPY3D* copyParams, CUcontext) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_MEMCPY, copyParams, memcpy_work);
}
CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                        const CUDA_MEMSET_NODE_PARAMS* memsetParams, CUcontext) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_MEMSET, memsetParams, memset_work);
}
CUresult cuGraphExecHostNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                      const CUDA_HOST_NODE_PARAMS* nodeParams) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_HOST, nodeParams, host_work);
}
CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                            CUgraph childGraph) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_GRAPH, &childGraph, child_work);
}
CUresult cuGraphExecNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                  CUgraphNodeParams* nodeParams) {
  if (nodeParams == nullptr || is_fixed(*nodeParams)) return CUDA_ERROR_INVALID_VALUE;
  return set_in(hGraphExec, hNode, nodeParams->type, nodeParams, any_work);
}

CUresult cuGraphAddMemAllocNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                const CUgraphNode* dependencies, size_t numDependencies,
                                CUDA_MEM_ALLOC_NODE_PARAMS* nodeParams) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_MEM_ALLOC,
             nodeParams, allocation_work);
}
CUresult cuGraphAddMemFreeNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                               const CUgraphNode* dependencies, size_t numDependencies,
                               CUdeviceptr dptr) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_MEM_FREE,
             &dptr, free_work);
}
CUresult cuGraphAddBatchMemOpNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                  const CUgraphNode* dependencies, size_t numDependencies,
                                  const CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams) {
  return add({phGraphNode, hGraph, dependencies, numDependencies}, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
             nodeParams, mem_op_work);
}

CUresult cuGraphBatchMemOpNodeSetParams(CUgraphNode hNode,
                                        const CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams) {
  return set(hNode, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, nodeParams, mem_op_work);
}
CUresult cuGraphExecBatchMemOpNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                            const CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, nodeParams, mem_op_work);
}
CUresult cuGraphEventRecordNodeSetEvent(CUgraphNode hNode, CUevent event) {
  return set(hNode, CU_GRAPH_NODE_TYPE_EVENT_RECORD, &event, record_work);
}
CUresult cuGraphEventWaitNodeSetEvent(CUgraphNode hNode, CUevent event) {
  return set(hNode, CU_GRAPH_NODE_TYPE_WAIT_EVENT, &event, wait_work);
}
CUresult cuGraphExecEventRecordNodeSetEvent(CUgraphExec hGraphExec, CUgraphNode hNode,
                                            CUevent event) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_EVENT_RECORD, &event, record_work);
}
CUresult cuGraphExecEventWaitNodeSetEvent(CUgraphExec hGraphExec, CUgraphNode hNode,
                                          CUevent event) {
  return set_in(hGraphExec, hNode, CU_GRAPH_NODE_TYPE_WAIT_EVENT, &event, wait_work);
}
}
