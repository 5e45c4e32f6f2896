#define FARCALL_FAMILY "transport/api/families/graph.def"
#include "client_shim/around.h"
#include "client_shim/graph_copies.h"
#include "client_shim/graph_kept.h"
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
      CUresult made = api::call<row::cuGraphInstantiateWithFlags>(exec, graph, flags);
      if (made == CUDA_SUCCESS) client.graph_copies().instantiated(graph, *exec);
      return made;
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
