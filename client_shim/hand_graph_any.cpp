// Nodes whose type is among their parameters, and older forms of functions: each finds its way to
// the function that is meant.
#include <cstring>
#include <vector>

#include "client_shim/entry.h"
#include "client_shim/fleet.h"
#include "client_shim/graph_nodes.h"

using farcall::shim::add_conditional;
using farcall::shim::Client;
using farcall::shim::Fleet;
using farcall::shim::id_of;
using farcall::shim::Serving;
using farcall::shim::with_client;

namespace {

CUDA_KERNEL_NODE_PARAMS kernel_of(const CUgraphNodeParams& params) {
  const auto& from = params.kernel;
  return {from.func,         from.gridDimX,  from.gridDimY,  from.gridDimZ,
          from.blockDimX,    from.blockDimY, from.blockDimZ, from.sharedMemBytes,
          from.kernelParams, from.extra,     from.kern,      from.ctx};
}

CUDA_MEMSET_NODE_PARAMS memset_of(const CUgraphNodeParams& params) {
  const auto& from = params.memset;
  return {from.dst, from.pitch, from.value, from.elementSize, from.width, from.height};
}

CUDA_BATCH_MEM_OP_NODE_PARAMS mem_ops_of(const CUgraphNodeParams& params) {
  const auto& from = params.memOp;
  return {from.ctx, from.count, from.paramArray, from.flags};
}

struct Place {
  CUgraphNode* node;
  CUgraph graph;
  const CUgraphNode* after;
  std::size_t count;
};

CUresult add_allocation(const Place& p, CUgraphNodeParams& params) {
  auto& from = params.alloc;
  CUDA_MEM_ALLOC_NODE_PARAMS wanted{from.poolProps, from.accessDescs, from.accessDescCount,
                                    from.bytesize, 0};
  CUresult added = cuGraphAddMemAllocNode(p.node, p.graph, p.after, p.count, &wanted);
  from.dptr = wanted.dptr;
  return added;
}

CUresult add_child(const Place& p, const CUgraphNodeParams& params) {
  CUresult added = cuGraphAddChildGraphNode(p.node, p.graph, p.after, p.count, params.graph.graph);
  const bool moves = params.graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
  // The copy that the node keeps is the graph from now on.
  if (added == CUDA_SUCCESS && moves) return cuGraphDestroy(params.graph.graph);
  return added;
}

// With several servers: as the one that has the graph or its instance, where a context of its own
// is current.
template <class T, class Add>
CUresult as_owner(T named, const Add& add) {
  Fleet* fleet = farcall::shim::has_several_servers() ? farcall::shim::current_fleet() : nullptr;
  Client* owner = fleet == nullptr ? nullptr : fleet->owner_of(id_of(named));
  if (owner == nullptr) return add();
  Serving serving(*fleet, *owner);
  return add();
}

// owner: the graph or its instance
template <class T>
CUcontext context_or_current(T owner, CUcontext named) {
  CUcontext current = named;
  if (named == nullptr) (void)as_owner(owner, [&] { return cuCtxGetCurrent(&current); });
  return current;
}

CUresult add_by_type(const Place& p, CUgraphNodeParams& params) {
  switch (params.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const auto kernel = kernel_of(params);
      return cuGraphAddKernelNode_v2(p.node, p.graph, p.after, p.count, &kernel);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return cuGraphAddMemcpyNode(p.node, p.graph, p.after, p.count, &params.memcpy.copyParams,
                                  context_or_current(p.graph, params.memcpy.copyCtx));
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto memset = memset_of(params);
      return cuGraphAddMemsetNode(p.node, p.graph, p.after, p.count, &memset,
                                  context_or_current(p.graph, params.memset.ctx));
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS host{params.host.fn, params.host.userData};
      return cuGraphAddHostNode(p.node, p.graph, p.after, p.count, &host);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH: return add_child(p, params);
    case CU_GRAPH_NODE_TYPE_EMPTY: return cuGraphAddEmptyNode(p.node, p.graph, p.after, p.count);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return cuGraphAddEventWaitNode(p.node, p.graph, p.after, p.count, params.eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return cuGraphAddEventRecordNode(p.node, p.graph, p.after, p.count, params.eventRecord.event);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC: return add_allocation(p, params);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
      return cuGraphAddMemFreeNode(p.node, p.graph, p.after, p.count, params.free.dptr);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: {
      const auto ops = mem_ops_of(params);
      return cuGraphAddBatchMemOpNode(p.node, p.graph, p.after, p.count, &ops);
    }
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
      return as_owner(p.graph, [&] {
        return with_client([&](Client& client) {
          return add_conditional(client, p.node, p.graph, {p.after, p.count}, &params);
        });
      });
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

bool has_data(const CUgraphEdgeData* edges, std::size_t count) {
  const CUgraphEdgeData none{};
  for (std::size_t i = 0; i < count; ++i) {
    if (std::memcmp(&edges[i], &none, sizeof none) != 0) return true;
  }
  return false;
}

CUresult set_by_type(CUgraphNode node, const CUgraphNodeParams& params) {
  switch (params.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const auto kernel = kernel_of(params);
      return cuGraphKernelNodeSetParams_v2(node, &kernel);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return cuGraphMemcpyNodeSetParams(node, &params.memcpy.copyParams);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto memset = memset_of(params);
      return cuGraphMemsetNodeSetParams(node, &memset);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS host{params.host.fn, params.host.userData};
      return cuGraphHostNodeSetParams(node, &host);
    }
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return cuGraphEventWaitNodeSetEvent(node, params.eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return cuGraphEventRecordNodeSetEvent(node, params.eventRecord.event);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: {
      const auto ops = mem_ops_of(params);
      return cuGraphBatchMemOpNodeSetParams(node, &ops);
    }
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult set_in_exec(CUgraphExec exec, CUgraphNode node, const CUgraphNodeParams& params) {
  switch (params.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const auto kernel = kernel_of(params);
      return cuGraphExecKernelNodeSetParams_v2(exec, node, &kernel);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return cuGraphExecMemcpyNodeSetParams(exec, node, &params.memcpy.copyParams,
                                            context_or_current(exec, params.memcpy.copyCtx));
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto memset = memset_of(params);
      return cuGraphExecMemsetNodeSetParams(exec, node, &memset,
                                            context_or_current(exec, params.memset.ctx));
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS host{params.host.fn, params.host.userData};
      return cuGraphExecHostNodeSetParams(exec, node, &host);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return cuGraphExecChildGraphNodeSetParams(exec, node, params.graph.graph);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return cuGraphExecEventWaitNodeSetEvent(exec, node, params.eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return cuGraphExecEventRecordNodeSetEvent(exec, node, params.eventRecord.event);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: {
      const auto ops = mem_ops_of(params);
      return cuGraphExecBatchMemOpNodeSetParams(exec, node, &ops);
    }
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

// CUDA 11's parameters, before there were kernels without a context.
CUDA_KERNEL_NODE_PARAMS newer(const CUDA_KERNEL_NODE_PARAMS_v1& from) {
  return {from.func,         from.gridDimX,  from.gridDimY,  from.gridDimZ,
          from.blockDimX,    from.blockDimY, from.blockDimZ, from.sharedMemBytes,
          from.kernelParams, from.extra,     nullptr,        nullptr};
}

}  // namespace

FARCALL_EXPORT cuGraphAddNode_v2(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                                 const CUgraphEdgeData* edges, std::size_t count,
                                 CUgraphNodeParams* params) {
  if (node == nullptr || params == nullptr || (count > 0 && dependencies == nullptr)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (count > farcall::limits::kArrayItemsMax) return CUDA_ERROR_NOT_SUPPORTED;
  if (edges == nullptr || !has_data(edges, count)) {
    return add_by_type({node, graph, dependencies, count}, *params);
  }
  CUresult added = add_by_type({node, graph, nullptr, 0}, *params);
  if (added != CUDA_SUCCESS) return added;
  const std::vector<CUgraphNode> to(count, *node);
  // Posted, and answered with the node's next call: an edge that CUDA has no use for fails here.
  CUresult tied = cuGraphAddDependencies_v2(graph, dependencies, to.data(), edges, count);
  std::size_t known = 0;
  if (tied == CUDA_SUCCESS) {
    tied = cuGraphNodeGetDependencies_v2(*node, nullptr, nullptr, &known);
  }
  if (tied != CUDA_SUCCESS) (void)cuGraphDestroyNode(*node);
  return tied;
}

FARCALL_EXPORT cuGraphAddNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                              std::size_t count, CUgraphNodeParams* params) {
  return cuGraphAddNode_v2(node, graph, dependencies, nullptr, count, params);
}

FARCALL_EXPORT cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams* params) {
  return params == nullptr ? CUDA_ERROR_INVALID_VALUE : set_by_type(node, *params);
}

FARCALL_EXPORT cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        CUgraphNodeParams* params) {
  return params == nullptr ? CUDA_ERROR_INVALID_VALUE : set_in_exec(exec, node, *params);
}

FARCALL_EXPORT cuGraphAddKernelNode(CUgraphNode* node, CUgraph graph,
                                    const CUgraphNode* dependencies, std::size_t count,
                                    const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS now = newer(*params);
  return cuGraphAddKernelNode_v2(node, graph, dependencies, count, &now);
}

FARCALL_EXPORT cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS now{};
  CUresult got = cuGraphKernelNodeGetParams_v2(node, &now);
  if (got != CUDA_SUCCESS) return got;
  *params = {now.func,      now.gridDimX,  now.gridDimY,       now.gridDimZ,     now.blockDimX,
             now.blockDimY, now.blockDimZ, now.sharedMemBytes, now.kernelParams, now.extra};
  return CUDA_SUCCESS;
}

FARCALL_EXPORT cuGraphKernelNodeSetParams(CUgraphNode node,
                                          const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS now = newer(*params);
  return cuGraphKernelNodeSetParams_v2(node, &now);
}

FARCALL_EXPORT cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                              const CUDA_KERNEL_NODE_PARAMS_v1* params) {
  if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_KERNEL_NODE_PARAMS now = newer(*params);
  return cuGraphExecKernelNodeSetParams_v2(exec, node, &now);
}
