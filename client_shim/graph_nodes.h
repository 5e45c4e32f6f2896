// Nodes of graphs: what several of the functions that make them share.
//
//   const NodePlace place{node, graph, dependencies, count};
//   if (CUresult bad = place.check(); bad != CUDA_SUCCESS) return bad;
//
// Threads: any.
#pragma once
#include <span>

#include "client_shim/entry.h"
#include "transport/api/hand_graph.h"
#include "transport/base/limits.h"

namespace farcall::shim {

// Where a new node goes, as AddNode sends it.
struct NodePlace {
  CUgraphNode* node;
  CUgraph graph;
  const CUgraphNode* after;
  std::size_t count;

  CUresult check() const {
    if (node == nullptr || (count > 0 && after == nullptr)) return CUDA_ERROR_INVALID_VALUE;
    return count > limits::kArrayItemsMax ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
  }
  void put(wire::Writer& out) const {
    out.put(api::hand::AddNode{id_of(graph), static_cast<std::uint32_t>(count), 0});
    for (std::size_t i = 0; i < count; ++i) out.put(id_of(after[i]));
  }
};

// params->type is CU_GRAPH_NODE_TYPE_CONDITIONAL; fills in the bodies, which live as the node does.
CUresult add_conditional(Client& client, CUgraphNode* node, CUgraph graph,
                         std::span<const CUgraphNode> after, CUgraphNodeParams* params);

// Refuses CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH among `flags`, with the reason in the log.
CUresult refuse_device_launch(unsigned long long flags);

}  // namespace farcall::shim
