#include "gpu_server/software_gpu/graph.h"

#include <algorithm>

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {

GraphNode* Graph::add(CUgraphNodeType type, Work work, std::vector<GraphNode*> after) {
  auto node = std::make_shared<GraphNode>();
  node->graph = this;
  node->type = type;
  node->work = std::move(work);
  node->after = std::move(after);
  nodes.push_back(node);
  driver().graph_nodes.add<CUgraphNode>(node);
  return node.get();
}

Graph::~Graph() {
  for (const auto& node : nodes) driver().graph_nodes.remove(node.get());
}

std::vector<GraphNode*> Graph::in_order() const {
  std::map<const GraphNode*, std::size_t> missing;
  for (const auto& node : nodes) missing[node.get()] = node->after.size();
  std::vector<GraphNode*> order;
  while (order.size() < nodes.size()) {
    const std::size_t before = order.size();
    for (const auto& node : nodes) {
      auto at = missing.find(node.get());
      if (at == missing.end() || at->second != 0) continue;
      missing.erase(at);
      order.push_back(node.get());
      for (const auto& later : nodes) {
        auto edges = std::count(later->after.begin(), later->after.end(), node.get());
        if (edges != 0) missing[later.get()] -= static_cast<std::size_t>(edges);
      }
    }
    if (order.size() == before) return {};
  }
  return order;
}

CUresult GraphExec::make(const Graph& graph, std::shared_ptr<GraphExec>* exec) {
  const std::vector<GraphNode*> order = graph.in_order();
  if (order.empty() && !graph.nodes.empty()) return CUDA_ERROR_INVALID_VALUE;
  auto made = std::make_shared<GraphExec>();
  for (GraphNode* node : order) {
    made->step_of[node] = made->steps.size();
    made->steps.push_back({node->work, true});
  }
  *exec = std::move(made);
  return CUDA_SUCCESS;
}

bool GraphExec::update(const Graph& graph) {
  const std::vector<GraphNode*> order = graph.in_order();
  if (order.size() != steps.size()) return false;
  for (std::size_t i = 0; i < order.size(); ++i) steps[i].work = order[i]->work;
  return true;
}

}  // namespace farcall::softgpu
