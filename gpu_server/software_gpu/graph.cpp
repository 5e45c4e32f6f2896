#include "gpu_server/software_gpu/graph.h"

#include <algorithm>
#include <cstring>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_params.h"

namespace farcall::softgpu {
namespace {

// A copy of a graph has inner graphs of its own.
Work clone_work(const Work& from) {
  if (from.params == nullptr || from.params->inner == nullptr) return from;
  std::vector<std::shared_ptr<Graph>> graphs;
  for (const auto& graph : from.params->inner->graphs) graphs.push_back(graph->clone());
  auto params = std::make_shared<NodeParams>(*from.params);
  params->inner = std::make_shared<InnerGraphs>(std::move(graphs));
  if (params->told.type == CU_GRAPH_NODE_TYPE_GRAPH) {
    params->told.graph.graph = params->inner->handles[0];
  } else {
    params->told.conditional.phGraph_out = params->inner->handles.data();
  }
  Work copy = from;
  copy.params = std::move(params);
  return copy;
}

}  // namespace

CUgraphEdgeData GraphNode::data_of(const GraphNode& earlier) const {
  auto at = edge_data.find(&earlier);
  return at == edge_data.end() ? CUgraphEdgeData{} : at->second;
}

void GraphNode::set_edge_data(const GraphNode& earlier, const CUgraphEdgeData& data) {
  const CUgraphEdgeData none{};
  if (std::memcmp(&data, &none, sizeof none) == 0) return;
  edge_data[&earlier] = data;
}

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
  for (const auto& other : nodes) {
    std::erase(other->after, &node);
    other->edge_data.erase(&node);
  }
  driver().graph_nodes.remove(&node);
  std::erase_if(nodes, [&](const auto& held) { return held.get() == &node; });
}

std::shared_ptr<Graph> Graph::clone() const {
  auto copy = std::make_shared<Graph>();
  std::map<const GraphNode*, GraphNode*> twin;
  for (const auto& node : nodes) {
    GraphNode* made = copy->add(node->type, clone_work(node->work), {});
    made->original = node.get();
    twin[node.get()] = made;
  }
  for (const auto& node : nodes) {
    for (const GraphNode* earlier : node->after) twin[node.get()]->after.push_back(twin[earlier]);
    for (const auto& [earlier, data] : node->edge_data) {
      twin[node.get()]->edge_data[twin[earlier]] = data;
    }
  }
  copy->conditions = conditions;
  copy->references = std::make_shared<UserReferences>(*references);
  return copy;
}

void Graph::clear() {
  for (const auto& node : nodes) driver().graph_nodes.remove(node.get());
  nodes.clear();
  conditions.clear();
  references = std::make_shared<UserReferences>();
}

std::vector<GraphNode*> Graph::in_order() const {
  std::map<const GraphNode*, std::vector<GraphNode*>> later;
  std::map<const GraphNode*, std::size_t> missing;
  std::vector<GraphNode*> order;
  for (const auto& node : nodes) {
    missing[node.get()] = node->after.size();
    if (node->after.empty()) order.push_back(node.get());
    for (const GraphNode* earlier : node->after) later[earlier].push_back(node.get());
  }
  // It grows while it is read.
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (GraphNode* next : later[order[i]]) {
      if (--missing[next] == 0) order.push_back(next);
    }
  }
  return order.size() == nodes.size() ? order : std::vector<GraphNode*>{};
}

}  // namespace farcall::softgpu
