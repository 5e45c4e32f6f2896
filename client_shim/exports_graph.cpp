#define FARCALL_FAMILY "transport/api/families/graph.def"
#include "client_shim/around.h"
#include "client_shim/graph_copies.h"
#include "client_shim/graph_kept.h"
#include "client_shim/graph_list_calls.h"
#include "client_shim/graph_nodes.h"
#include "transport/api/client_call.h"

namespace farcall::shim {
namespace row = api::row;
namespace {

// Whatever comes of it: from now on only the driver can tell of this event.
template <class Row, class... A>
CUresult with_event(CUevent event, A... arguments) {
  return with_client([&](Client& client) {
    client.completions().kept_by_graph(event);
    return api::call<Row>(arguments...);
  });
}

}  // namespace

template <>
struct Around<row::cuGraphGetNodes> {
  static CUresult call(CUgraph graph, CUgraphNode* nodes, std::size_t* count) {
    return list_nodes<row::cuGraphGetNodes>(api::hand::kNodes, graph, nodes, count);
  }
};

template <>
struct Around<row::cuGraphGetRootNodes> {
  static CUresult call(CUgraph graph, CUgraphNode* nodes, std::size_t* count) {
    return list_nodes<row::cuGraphGetRootNodes>(api::hand::kRootNodes, graph, nodes, count);
  }
};

template <>
struct Around<row::cuGraphGetEdges> {
  static CUresult call(CUgraph graph, CUgraphNode* from, CUgraphNode* to, std::size_t* count) {
    return read_list({api::hand::kEdges, id_of(graph)}, {from, to, nullptr, count},
                     [&] { return api::call<row::cuGraphGetEdges>(graph, from, to, count); });
  }
};

template <>
struct Around<row::cuGraphGetEdges_v2> {
  static CUresult call(CUgraph graph, CUgraphNode* from, CUgraphNode* to, CUgraphEdgeData* data,
                       std::size_t* count) {
    return read_list({api::hand::kEdges, id_of(graph)}, {from, to, data, count}, [&] {
      return api::call<row::cuGraphGetEdges_v2>(graph, from, to, data, count);
    });
  }
};

template <>
struct Around<row::cuGraphNodeGetDependencies> {
  static CUresult call(CUgraphNode node, CUgraphNode* nodes, std::size_t* count) {
    return list_nodes<row::cuGraphNodeGetDependencies>(api::hand::kDependencies, node, nodes,
                                                       count);
  }
};

template <>
struct Around<row::cuGraphNodeGetDependencies_v2> {
  static CUresult call(CUgraphNode node, CUgraphNode* nodes, CUgraphEdgeData* data,
                       std::size_t* count) {
    return list_nodes<row::cuGraphNodeGetDependencies_v2>(api::hand::kDependencies, node, nodes,
                                                          data, count);
  }
};

template <>
struct Around<row::cuGraphNodeGetDependentNodes> {
  static CUresult call(CUgraphNode node, CUgraphNode* nodes, std::size_t* count) {
    return list_nodes<row::cuGraphNodeGetDependentNodes>(api::hand::kDependentNodes, node, nodes,
                                                         count);
  }
};

template <>
struct Around<row::cuGraphNodeGetDependentNodes_v2> {
  static CUresult call(CUgraphNode node, CUgraphNode* nodes, CUgraphEdgeData* data,
                       std::size_t* count) {
    return list_nodes<row::cuGraphNodeGetDependentNodes_v2>(api::hand::kDependentNodes, node, nodes,
                                                            data, count);
  }
};

template <>
struct Around<row::cuGraphAddDependencies> {
  static CUresult call(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                       std::size_t count) {
    return change_edges<row::cuGraphAddDependencies>(graph, from, to, count);
  }
};

template <>
struct Around<row::cuGraphAddDependencies_v2> {
  static CUresult call(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                       const CUgraphEdgeData* data, std::size_t count) {
    return change_edges<row::cuGraphAddDependencies_v2>(graph, from, to, data, count);
  }
};

template <>
struct Around<row::cuGraphRemoveDependencies> {
  static CUresult call(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                       std::size_t count) {
    return change_edges<row::cuGraphRemoveDependencies>(graph, from, to, count);
  }
};

template <>
struct Around<row::cuGraphRemoveDependencies_v2> {
  static CUresult call(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                       const CUgraphEdgeData* data, std::size_t count) {
    return change_edges<row::cuGraphRemoveDependencies_v2>(graph, from, to, data, count);
  }
};

template <>
struct Around<row::cuGraphAddEventRecordNode> {
  static CUresult call(CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                       std::size_t count, CUevent event) {
    return with_event<row::cuGraphAddEventRecordNode>(event, node, graph, after, count, event);
  }
};

template <>
struct Around<row::cuGraphEventRecordNodeSetEvent> {
  static CUresult call(CUgraphNode node, CUevent event) {
    return with_event<row::cuGraphEventRecordNodeSetEvent>(event, node, event);
  }
};

template <>
struct Around<row::cuGraphExecEventRecordNodeSetEvent> {
  static CUresult call(CUgraphExec graph, CUgraphNode node, CUevent event) {
    return with_event<row::cuGraphExecEventRecordNodeSetEvent>(event, graph, node, event);
  }
};

// --- copies between host and device: see graph_copies.h

template <>
struct Around<row::cuGraphAddMemcpyNode> {
  static CUresult call(CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                       std::size_t count, const CUDA_MEMCPY3D* copy, CUcontext context) {
    return with_client([&](Client& client) {
      if (copy == nullptr) return CUDA_ERROR_INVALID_VALUE;
      GraphCopies& copies = client.graph_copies();
      CUDA_MEMCPY3D placed{};
      GraphCopies::Regions regions;
      CUresult made = copies.stand_in(*copy, graph, &placed, &regions);
      if (made != CUDA_SUCCESS) return made;
      made = api::call<row::cuGraphAddMemcpyNode>(node, graph, after, count, &placed, context);
      if (made == CUDA_SUCCESS) copies.added(graph, *node, std::move(regions));
      return made;
    });
  }
};

template <>
struct Around<row::cuGraphMemcpyNodeSetParams> {
  static CUresult call(CUgraphNode node, const CUDA_MEMCPY3D* copy) {
    return with_client([&](Client& client) {
      if (copy == nullptr) return CUDA_ERROR_INVALID_VALUE;
      GraphCopies& copies = client.graph_copies();
      CUDA_MEMCPY3D placed{};
      GraphCopies::Regions regions;
      const CUgraph graph = copies.graph_of(node);
      CUresult made = copies.stand_in(*copy, graph, &placed, &regions);
      // A node that had no host side is not known here, and nor is the graph that would need it.
      if (graph == nullptr && !regions.empty()) made = CUDA_ERROR_NOT_SUPPORTED;
      if (made != CUDA_SUCCESS) return made;
      made = api::call<row::cuGraphMemcpyNodeSetParams>(node, &placed);
      if (made == CUDA_SUCCESS) copies.changed(node, std::move(regions));
      return made;
    });
  }
};

template <>
struct Around<row::cuGraphExecMemcpyNodeSetParams> {
  static CUresult call(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D* copy,
                       CUcontext context) {
    return with_client([&](Client& client) {
      if (copy == nullptr) return CUDA_ERROR_INVALID_VALUE;
      GraphCopies& copies = client.graph_copies();
      CUDA_MEMCPY3D placed{};
      GraphCopies::Regions regions;
      CUresult made = copies.stand_in(*copy, nullptr, &placed, &regions);
      if (made != CUDA_SUCCESS) return made;
      made = api::call<row::cuGraphExecMemcpyNodeSetParams>(exec, node, &placed, context);
      if (made == CUDA_SUCCESS) copies.changed(exec, node, std::move(regions));
      return made;
    });
  }
};

template <>
struct Around<row::cuGraphMemcpyNodeGetParams> {
  static CUresult call(CUgraphNode node, CUDA_MEMCPY3D* copy) {
    return with_client([&](Client& client) {
      CUresult got = api::call<row::cuGraphMemcpyNodeGetParams>(node, copy);
      if (got == CUDA_SUCCESS) client.graph_copies().restore(copy);
      return got;
    });
  }
};

template <>
struct Around<row::cuGraphAddChildGraphNode> {
  static CUresult call(CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                       std::size_t count, CUgraph child) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuGraphAddChildGraphNode>(node, graph, after, count, child);
      if (made == CUDA_SUCCESS) client.graph_copies().added_child(graph, *node, child);
      return made;
    });
  }
};

template <>
struct Around<row::cuGraphExecChildGraphNodeSetParams> {
  static CUresult call(CUgraphExec exec, CUgraphNode node, CUgraph child) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuGraphExecChildGraphNodeSetParams>(exec, node, child);
      if (made == CUDA_SUCCESS) client.graph_copies().changed(exec, node, child);
      return made;
    });
  }
};

template <>
struct Around<row::cuGraphDestroyNode> {
  static CUresult call(CUgraphNode node) {
    return with_client([&](Client& client) {
      client.graph_kept().drop(node);
      CUresult gone = api::call<row::cuGraphDestroyNode>(node);
      if (gone == CUDA_SUCCESS) client.graph_copies().removed(node);
      return gone;
    });
  }
};

template <>
struct Around<row::cuGraphClone> {
  static CUresult call(CUgraph* clone, CUgraph graph) {
    return with_client([&](Client& client) {
      CUresult made = api::call<row::cuGraphClone>(clone, graph);
      if (made == CUDA_SUCCESS) client.graph_copies().cloned(graph, *clone);
      return made;
    });
  }
};

template <>
struct Around<row::cuGraphDestroy> {
  static CUresult call(CUgraph graph) {
    return with_client([&](Client& client) {
      CUresult gone = api::call<row::cuGraphDestroy>(graph);
      client.graph_copies().destroyed(graph);
      client.graph_kept().drop_graph(graph);
      return gone;
    });
  }
};

template <>
struct Around<row::cuGraphInstantiateWithFlags> {
  static CUresult call(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
    return with_client([&](Client& client) {
      if (CUresult no = refuse_device_launch(flags); no != CUDA_SUCCESS) return no;
      CUresult made = api::call<row::cuGraphInstantiateWithFlags>(exec, graph, flags);
      if (made == CUDA_SUCCESS) client.graph_copies().instantiated(graph, *exec);
      return made;
    });
  }
};

// The driver's list of who may touch the memory is not the program's to keep.
template <>
struct Around<row::cuGraphMemAllocNodeGetParams> {
  static CUresult call(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS* params) {
    return with_client([&](Client& client) {
      CUresult got = api::call<row::cuGraphMemAllocNodeGetParams>(node, params);
      GraphKept::Node* kept = got == CUDA_SUCCESS ? client.graph_kept().find(node) : nullptr;
      if (kept == nullptr || kept->access.empty()) return got;
      params->accessDescs = kept->access.data();
      params->accessDescCount = kept->access.size();
      return got;
    });
  }
};

template <>
struct Around<row::cuGraphExecDestroy> {
  static CUresult call(CUgraphExec exec) {
    return with_client([&](Client& client) {
      CUresult gone = api::call<row::cuGraphExecDestroy>(exec);
      client.graph_copies().destroyed(exec);
      return gone;
    });
  }
};

template <>
struct Around<row::cuGraphLaunch> {
  static CUresult call(CUgraphExec exec, CUstream stream) {
    return with_client([&](Client& client) { return client.graph_copies().launch(exec, stream); });
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
