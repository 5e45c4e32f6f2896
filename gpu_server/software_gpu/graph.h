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

#include "gpu_server/software_gpu/graph_memory.h"
#include "gpu_server/software_gpu/stream.h"
#include "gpu_server/software_gpu/user_object.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

class Context;
struct Graph;

struct GraphNode {
  Graph* graph = nullptr;
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  Work work;
  std::vector<GraphNode*> after;                          // edges into this node
  std::map<const GraphNode*, CUgraphEdgeData> edge_data;  // of those that have any
  const GraphNode* original = nullptr;                    // in a clone: what this was copied from
  CUgraphNode handle() { return reinterpret_cast<CUgraphNode>(this); }
  // None is the same as all zeros.
  CUgraphEdgeData data_of(const GraphNode& earlier) const;
  void set_edge_data(const GraphNode& earlier, const CUgraphEdgeData& data);
};

struct Graph {
  // A value that kernels set and conditional nodes look at.
  struct Condition {
    std::uint64_t handle = 0;
    unsigned value = 0;  // at each launch, if it has one then
    bool is_assigned = false;
    std::shared_ptr<void> last;  // ends the handle, with the graph and what was made of it
  };
  std::vector<std::shared_ptr<GraphNode>> nodes;
  std::vector<Condition> conditions;
  std::shared_ptr<UserReferences> references = std::make_shared<UserReferences>();

  // Also makes the handle known. `after` must be nodes of this graph.
  GraphNode* add(CUgraphNodeType type, Work work, std::vector<GraphNode*> after);
  // Earlier nodes first; empty if the edges form a circle (and there are nodes).
  std::vector<GraphNode*> in_order() const;
  // Also ends the handle and the edges.
  void drop(GraphNode& node);
  std::shared_ptr<Graph> clone() const;
  // Ends all nodes, and lets go of what the graph holds: who still has it has an empty one.
  void clear();
  ~Graph() { clear(); }
};

struct GraphExec {
  struct Step {
    const GraphNode* node = nullptr;  // what it was made from; only compared
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    Work work;
    std::vector<std::shared_ptr<GraphExec>> inner;  // of child graphs and conditions
    std::vector<std::size_t> after;                 // steps
    bool enabled = true;
  };
  std::vector<Step> steps;  // earlier ones first
  std::map<const GraphNode*, std::size_t> step_of;
  std::vector<Graph::Condition> conditions;
  std::shared_ptr<UserReferences> references;
  std::vector<std::shared_ptr<const int>> memory_nodes;  // NodeParams::instances of each
  unsigned long long flags = 0;

  // Errors: CUDA_ERROR_INVALID_VALUE for a circle.
  static CUresult make(const Graph& graph, std::shared_ptr<GraphExec>* exec);
  // Gives a step new work, and what is inside it.
  static CUresult put(Step& step, Work work);
  // Everything that is enabled, in order, as one piece of work, which also holds `held` and all
  // that the graph allocates or refers to. It stops at a fault.
  Work work(const Context& context, GraphMemory::Pointers held) const;
  // What a launch does to memory of graphs, inner ones included. `held` is what its work, once it
  // is queued, has to hold.
  // Errors: CUDA_ERROR_INVALID_VALUE when memory is still alive that this launch allocates.
  CUresult begin_memory(GraphMemory::Pointers* held) const;
  // Replaces the work by that of a graph of the same shape; says what is different if it is not.
  CUresult update(const Graph& graph, CUgraphExecUpdateResultInfo* info);
};

}  // namespace farcall::softgpu
