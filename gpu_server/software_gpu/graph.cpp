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

void Graph::drop(GraphNode& node) {
  for (const auto& other : nodes) std::erase(other->after, &node);
  driver().graph_nodes.remove(&node);
  std::erase_if(nodes, [&](const auto& held) { return held.get() == &node; });
}

std::shared_ptr<Graph> Graph::clone() const {
  auto copy = std::make_shared<Graph>();
  std::map<const GraphNode*, GraphNode*> twin;
  for (const auto& node : nodes) {
    GraphNode* made = copy->add(node->type, node->work, {});
    made->original = node.get();
    twin[node.get()] = made;
  }
  for (const auto& node : nodes) {
    for (const GraphNode* earlier : node->after) twin[node.get()]->after.push_back(twin[earlier]);
  }
  return copy;
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

Work GraphExec::work(const Context& context) const {
  std::vector<std::function<void()>> enabled;
  for (const Step& step : steps) {
    if (step.enabled && step.work.run) enabled.push_back(step.work.run);
  }
  return {[enabled = std::move(enabled), &context] {
    for (const auto& run : enabled) {
      if (context.status() != CUDA_SUCCESS) return;
      run();
    }
  }};
}

bool GraphExec::update(const Graph& graph) {
  const std::vector<GraphNode*> order = graph.in_order();
  if (order.size() != steps.size()) return false;
  for (std::size_t i = 0; i < order.size(); ++i) steps[i].work = order[i]->work;
  return true;
}

}  // namespace farcall::softgpu
