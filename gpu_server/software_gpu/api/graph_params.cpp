// What graph nodes were made with; attributes of kernel nodes; memory of graphs; conditions.
// Source: CUDA Driver API 13.0, Graph Management.
#include "gpu_server/software_gpu/graph_params.h"

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/exec/graph_condition.h"
#include "gpu_server/software_gpu/graph_work.h"

namespace farcall::softgpu {
namespace {

CUresult find_node(CUgraphNode handle, CUgraphNodeType type, std::shared_ptr<GraphNode>* node) {
  if (CUresult failed = require_driver()) return failed;
  *node = driver().graph_nodes.find(handle);
  if (!*node) return CUDA_ERROR_INVALID_HANDLE;
  return (*node)->type == type && (*node)->work.params ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// `pick` finds what is wanted among the parameters.
template <class T, class Pick>
CUresult tell(CUgraphNode handle, CUgraphNodeType type, T* out, Pick pick) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(handle, type, &node)) return failed;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = pick(node->work.params->told);
  return CUDA_SUCCESS;
}

CUresult find_device(CUdevice ordinal, Device** device) {
  if (CUresult failed = require_driver()) return failed;
  *device = driver().device(ordinal);
  return *device == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

using Attributes = std::map<int, CUlaunchAttributeValue>;

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode hNode, CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_KERNEL, nodeParams, [](const CUgraphNodeParams& told) {
    const auto& from = told.kernel;
    return CUDA_KERNEL_NODE_PARAMS{from.func,      from.gridDimX,       from.gridDimY,
                                   from.gridDimZ,  from.blockDimX,      from.blockDimY,
                                   from.blockDimZ, from.sharedMemBytes, from.kernelParams,
                                   from.extra,     from.kern,           from.ctx};
  });
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode hNode, CUDA_MEMCPY3D* nodeParams) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_MEMCPY, nodeParams,
              [](const CUgraphNodeParams& told) { return told.memcpy.copyParams; });
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode hNode, CUDA_MEMSET_NODE_PARAMS* nodeParams) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_MEMSET, nodeParams, [](const CUgraphNodeParams& told) {
    const auto& from = told.memset;
    return CUDA_MEMSET_NODE_PARAMS{from.dst,         from.pitch, from.value,
                                   from.elementSize, from.width, from.height};
  });
}

CUresult cuGraphHostNodeGetParams(CUgraphNode hNode, CUDA_HOST_NODE_PARAMS* nodeParams) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_HOST, nodeParams, [](const CUgraphNodeParams& told) {
    return CUDA_HOST_NODE_PARAMS{told.host.fn, told.host.userData};
  });
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode hNode, CUgraph* phGraph) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_GRAPH, phGraph,
              [](const CUgraphNodeParams& told) { return told.graph.graph; });
}

CUresult cuGraphEventRecordNodeGetEvent(CUgraphNode hNode, CUevent* event_out) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event_out,
              [](const CUgraphNodeParams& told) { return told.eventRecord.event; });
}

CUresult cuGraphEventWaitNodeGetEvent(CUgraphNode hNode, CUevent* event_out) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event_out,
              [](const CUgraphNodeParams& told) { return told.eventWait.event; });
}

CUresult cuGraphMemAllocNodeGetParams(CUgraphNode hNode, CUDA_MEM_ALLOC_NODE_PARAMS* params_out) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_MEM_ALLOC, params_out, [](const CUgraphNodeParams& told) {
    const auto& from = told.alloc;
    return CUDA_MEM_ALLOC_NODE_PARAMS{from.poolProps, from.accessDescs, from.accessDescCount,
                                      from.bytesize, from.dptr};
  });
}

CUresult cuGraphMemFreeNodeGetParams(CUgraphNode hNode, CUdeviceptr* dptr_out) {
  return tell(hNode, CU_GRAPH_NODE_TYPE_MEM_FREE, dptr_out,
              [](const CUgraphNodeParams& told) { return told.free.dptr; });
}

CUresult cuGraphBatchMemOpNodeGetParams(CUgraphNode hNode,
                                        CUDA_BATCH_MEM_OP_NODE_PARAMS* nodeParams_out) {
  return tell(
      hNode, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, nodeParams_out, [](const CUgraphNodeParams& told) {
        const auto& from = told.memOp;
        return CUDA_BATCH_MEM_OP_NODE_PARAMS{from.ctx, from.count, from.paramArray, from.flags};
      });
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
                                       const CUkernelNodeAttrValue* value) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(hNode, CU_GRAPH_NODE_TYPE_KERNEL, &node)) return failed;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Attributes attributes = node->work.params->attributes;
  attributes[static_cast<int>(attr)] = *value;
  Work work;
  if (CUresult failed = with_attributes(node->work, std::move(attributes), &work)) return failed;
  node->work = std::move(work);
  return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode hNode, CUkernelNodeAttrID attr,
                                       CUkernelNodeAttrValue* value_out) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(hNode, CU_GRAPH_NODE_TYPE_KERNEL, &node)) return failed;
  if (value_out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Attributes& attributes = node->work.params->attributes;
  auto at = attributes.find(static_cast<int>(attr));
  *value_out = at == attributes.end() ? CUkernelNodeAttrValue{} : at->second;
  return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src) {
  std::shared_ptr<GraphNode> to, from;
  if (CUresult failed = find_node(dst, CU_GRAPH_NODE_TYPE_KERNEL, &to)) return failed;
  if (CUresult failed = find_node(src, CU_GRAPH_NODE_TYPE_KERNEL, &from)) return failed;
  Work work;
  if (CUresult failed = with_attributes(to->work, from->work.params->attributes, &work)) {
    return failed;
  }
  to->work = std::move(work);
  return CUDA_SUCCESS;
}

CUresult cuGraphConditionalHandleCreate(CUgraphConditionalHandle* pHandle_out, CUgraph hGraph,
                                        CUcontext ctx, unsigned defaultLaunchValue,
                                        unsigned flags) {
  Context* context = nullptr;
  if (CUresult failed = find_context(ctx, &context)) return failed;
  auto graph = driver().graphs.find(hGraph);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  if (pHandle_out == nullptr ||
      (flags & ~static_cast<unsigned>(CU_GRAPH_COND_ASSIGN_DEFAULT)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *pHandle_out = new_graph_condition();
  std::shared_ptr<void> last(nullptr,
                             [handle = *pHandle_out](void*) { end_graph_condition(handle); });
  graph->conditions.push_back({*pHandle_out, defaultLaunchValue, flags != 0, std::move(last)});
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetGraphMemAttribute(CUdevice ordinal, CUgraphMem_attribute attr, void* value) {
  Device* device = nullptr;
  if (CUresult failed = find_device(ordinal, &device)) return failed;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return GraphMemory::attribute(*device, attr, static_cast<std::uint64_t*>(value));
}

CUresult cuDeviceSetGraphMemAttribute(CUdevice ordinal, CUgraphMem_attribute attr, void* value) {
  Device* device = nullptr;
  if (CUresult failed = find_device(ordinal, &device)) return failed;
  // High watermarks can be reset, and nothing else can be set.
  if (value == nullptr || *static_cast<std::uint64_t*>(value) != 0) return CUDA_ERROR_INVALID_VALUE;
  return GraphMemory::reset_high(*device, attr);
}

CUresult cuDeviceGraphMemTrim(CUdevice ordinal) {
  Device* device = nullptr;
  if (CUresult failed = find_device(ordinal, &device)) return failed;
  GraphMemory::trim(*device);
  return CUDA_SUCCESS;
}
}
