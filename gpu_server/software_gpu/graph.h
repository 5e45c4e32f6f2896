// Graph, GraphNode, GraphExec: work written down to be run later, perhaps often.
//
//   GraphNode* node = graph->add(CU_GRAPH_NODE_TYPE_KERNEL, work, {earlier});
//   std::shared_ptr<GraphExec> exec;  CUresult result = GraphExec::make(*graph, &exec);
//
// An instantiated graph runs its nodes one after the other in an order that respects every edge:
// correct, and a CPU gains nothing from running them side by side.
// Owner: handle tables; nodes belong to their graph.
// Threads: CUDA asks callers to serialise their calls on one graph, and so do we.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "gpu_server/software_gpu/stream.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Context;
struct Graph;

struct GraphNode {
  Graph* graph = nullptr;
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  Work work;
  std::vector<GraphNode*> after;        // edges into this node
  const GraphNode* original = nullptr;  // in a clone: what this was copied from
  CUgraphNode handle() { return reinterpret_cast<CUgraphNode>(this); }
};

struct Graph {
  std::vector<std::shared_ptr<GraphNode>> nodes;

  // Also makes the handle known. `after` must be nodes of this graph.
  GraphNode* add(CUgraphNodeType type, Work work, std::vector<GraphNode*> after);
  // Earlier nodes first; empty if the edges form a circle (and there are nodes).
  std::vector<GraphNode*> in_order() const;
  // Also ends the handle and the edges.
  void drop(GraphNode& node);
  std::shared_ptr<Graph> clone() const;
  ~Graph();
};

struct GraphExec {
  struct Step {
    Work work;
    bool enabled = true;
  };
  std::vector<Step> steps;
  std::map<const GraphNode*, std::size_t> step_of;  // by the node it was made from
  unsigned long long flags = 0;

  // Errors: CUDA_ERROR_INVALID_VALUE for a circle.
  // Everything that is enabled, in order, as one piece of work. It stops at a fault.
  Work work(const Context& context) const;
  static CUresult make(const Graph& graph, std::shared_ptr<GraphExec>* exec);
  // Replaces the work by that of a graph of the same shape.
  bool update(const Graph& graph);
};

}  // namespace farcall::softgpu
