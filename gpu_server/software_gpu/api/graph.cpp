// Graphs: their nodes and edges.
// Source: CUDA Driver API 13.0, Graph Management.
#include "gpu_server/software_gpu/graph.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

CUresult find_graph(CUgraph handle, std::shared_ptr<Graph>* graph) {
  if (CUresult failed = require_driver()) return failed;
  *graph = driver().graphs.find(handle);
  return *graph ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult find_node(CUgraphNode handle, std::shared_ptr<GraphNode>* node) {
  if (CUresult failed = require_driver()) return failed;
  *node = driver().graph_nodes.find(handle);
  return *node ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// CUDA's way to return a list: without room the count is told; with room, what fits is written and
// the rest filled with null.
CUresult give_list(const std::vector<GraphNode*>& list, CUgraphNode* out, std::size_t* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out == nullptr) {
    *count = list.size();
    return CUDA_SUCCESS;
  }
  for (std::size_t i = 0; i < *count; ++i) out[i] = i < list.size() ? list[i]->handle() : nullptr;
  *count = std::min(*count, list.size());
  return CUDA_SUCCESS;
}

struct Edge {
  GraphNode* from;
  GraphNode* to;
};

std::vector<Edge> edges_of(const Graph& graph) {
  std::vector<Edge> edges;
  for (const auto& node : graph.nodes) {
    for (GraphNode* earlier : node->after) edges.push_back({earlier, node.get()});
  }
  return edges;
}

std::vector<GraphNode*> followers_of(const GraphNode& node) {
  std::vector<GraphNode*> later;
  for (const auto& other : node.graph->nodes) {
    if (std::count(other->after.begin(), other->after.end(), &node) != 0) {
      later.push_back(other.get());
    }
  }
  return later;
}

// The data of edges beside a list of them; without room for it, an edge that has any is an error.
CUresult give_edge_data(const std::vector<Edge>& edges, bool wants_edges, CUgraphEdgeData* out,
                        const std::size_t* room) {
  if (room == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const CUgraphEdgeData data = edges[i].to->data_of(*edges[i].from), none{};
    const bool has_any = std::memcmp(&data, &none, sizeof none) != 0;
    if (has_any && wants_edges && out == nullptr) return CUDA_ERROR_LOSSY_QUERY;
    if (out != nullptr && i < *room) out[i] = data;
  }
  return CUDA_SUCCESS;
}

CUresult change_edges(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                      const CUgraphEdgeData* data, std::size_t count, bool add) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(handle, &graph)) return failed;
  if (count != 0 && (from == nullptr || to == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < count; ++i) {
    auto first = driver().graph_nodes.find(from[i]), second = driver().graph_nodes.find(to[i]);
    if (!first || !second || first == second || first->graph != graph.get() ||
        second->graph != graph.get()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const bool there = std::count(second->after.begin(), second->after.end(), first.get()) != 0;
    if (there == add) return CUDA_ERROR_INVALID_VALUE;
    if (add) {
      second->after.push_back(first.get());
      if (data != nullptr) second->set_edge_data(*first, data[i]);
    } else {
      std::erase(second->after, first.get());
      second->edge_data.erase(first.get());
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuGraphCreate(CUgraph* phGraph, unsigned flags) {
  if (CUresult failed = require_driver()) return failed;
  if (phGraph == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *phGraph = driver().graphs.add<CUgraph>(std::make_shared<Graph>());
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph hGraph) {
  if (CUresult failed = require_driver()) return failed;
  auto graph = driver().graphs.remove(hGraph);
  if (!graph) return CUDA_ERROR_INVALID_HANDLE;
  graph->clear();  // events recorded in its capture may keep it
  return CUDA_SUCCESS;
}

CUresult cuGraphClone(CUgraph* phGraphClone, CUgraph originalGraph) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(originalGraph, &graph)) return failed;
  if (phGraphClone == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const auto& node : graph->nodes) {
    // Their addresses and values are one graph's only, as CUDA documents.
    const bool is_single = node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ||
                           node->type == CU_GRAPH_NODE_TYPE_MEM_FREE ||
                           node->type == CU_GRAPH_NODE_TYPE_CONDITIONAL;
    if (is_single) return CUDA_ERROR_NOT_SUPPORTED;
  }
  *phGraphClone = driver().graphs.add<CUgraph>(graph->clone());
  return CUDA_SUCCESS;
}

CUresult cuGraphNodeFindInClone(CUgraphNode* phNode, CUgraphNode hOriginalNode,
                                CUgraph hClonedGraph) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(hClonedGraph, &graph)) return failed;
  std::shared_ptr<GraphNode> original;
  if (CUresult failed = find_node(hOriginalNode, &original)) return failed;
  if (phNode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const auto& node : graph->nodes) {
    if (node->original != original.get()) continue;
    *phNode = node->handle();
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

// The picture names types only.
CUresult cuGraphDebugDotPrint(CUgraph hGraph, const char* path, unsigned) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(hGraph, &graph)) return failed;
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::FILE* file = std::fopen(path, "we");
  if (file == nullptr) return CUDA_ERROR_OPERATING_SYSTEM;
  std::fputs("digraph dot {\n", file);
  for (const auto& node : graph->nodes) {
    std::fprintf(file, "\"%p\"[shape=\"record\" label=\"type %d\"];\n",
                 static_cast<void*>(node.get()), static_cast<int>(node->type));
  }
  for (const Edge& edge : edges_of(*graph)) {
    std::fprintf(file, "\"%p\" -> \"%p\";\n", static_cast<void*>(edge.from),
                 static_cast<void*>(edge.to));
  }
  std::fputs("}\n", file);
  return std::fclose(file) == 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
}

CUresult cuGraphDestroyNode(CUgraphNode hNode) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(hNode, &node)) return failed;
  node->graph->drop(*node);
  return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType* type) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(hNode, &node)) return failed;
  if (type == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *type = node->type;
  return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph hGraph, CUgraphNode* nodes, size_t* numNodes) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(hGraph, &graph)) return failed;
  std::vector<GraphNode*> all;
  for (const auto& node : graph->nodes) all.push_back(node.get());
  return give_list(all, nodes, numNodes);
}

CUresult cuGraphGetRootNodes(CUgraph hGraph, CUgraphNode* rootNodes, size_t* numRootNodes) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(hGraph, &graph)) return failed;
  std::vector<GraphNode*> roots;
  for (const auto& node : graph->nodes) {
    if (node->after.empty()) roots.push_back(node.get());
  }
  return give_list(roots, rootNodes, numRootNodes);
}

CUresult cuGraphGetEdges_v2(CUgraph hGraph, CUgraphNode* from, CUgraphNode* to,
                            CUgraphEdgeData* edgeData, size_t* numEdges) {
  std::shared_ptr<Graph> graph;
  if (CUresult failed = find_graph(hGraph, &graph)) return failed;
  std::vector<GraphNode*> starts, ends;
  for (const Edge& edge : edges_of(*graph)) {
    starts.push_back(edge.from);
    ends.push_back(edge.to);
  }
  if ((from == nullptr) != (to == nullptr) || numEdges == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::size_t room = *numEdges;
  if (CUresult failed = give_edge_data(edges_of(*graph), from != nullptr, edgeData, numEdges)) {
    return failed;
  }
  if (CUresult failed = give_list(starts, from, numEdges)) return failed;
  return give_list(ends, to, &room);
}

CUresult cuGraphGetEdges(CUgraph hGraph, CUgraphNode* from, CUgraphNode* to, size_t* numEdges) {
  return cuGraphGetEdges_v2(hGraph, from, to, nullptr, numEdges);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode hNode, CUgraphNode* dependencies,
                                       CUgraphEdgeData* edgeData, size_t* numDependencies) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(hNode, &node)) return failed;
  std::vector<Edge> edges;
  for (GraphNode* earlier : node->after) edges.push_back({earlier, node.get()});
  if (CUresult failed = give_edge_data(edges, dependencies != nullptr, edgeData, numDependencies)) {
    return failed;
  }
  return give_list(node->after, dependencies, numDependencies);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode hNode, CUgraphNode* dependencies,
                                    size_t* numDependencies) {
  return cuGraphNodeGetDependencies_v2(hNode, dependencies, nullptr, numDependencies);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode hNode, CUgraphNode* dependentNodes,
                                         CUgraphEdgeData* edgeData, size_t* numDependentNodes) {
  std::shared_ptr<GraphNode> node;
  if (CUresult failed = find_node(hNode, &node)) return failed;
  std::vector<Edge> edges;
  for (GraphNode* later : followers_of(*node)) edges.push_back({node.get(), later});
  if (CUresult failed =
          give_edge_data(edges, dependentNodes != nullptr, edgeData, numDependentNodes)) {
    return failed;
  }
  return give_list(followers_of(*node), dependentNodes, numDependentNodes);
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode hNode, CUgraphNode* dependentNodes,
                                      size_t* numDependentNodes) {
  return cuGraphNodeGetDependentNodes_v2(hNode, dependentNodes, nullptr, numDependentNodes);
}

CUresult cuGraphAddDependencies_v2(CUgraph hGraph, const CUgraphNode* from, const CUgraphNode* to,
                                   const CUgraphEdgeData* edgeData, size_t numDependencies) {
  return change_edges(hGraph, from, to, edgeData, numDependencies, true);
}
CUresult cuGraphAddDependencies(CUgraph hGraph, const CUgraphNode* from, const CUgraphNode* to,
                                size_t numDependencies) {
  return change_edges(hGraph, from, to, nullptr, numDependencies, true);
}
CUresult cuGraphRemoveDependencies_v2(CUgraph hGraph, const CUgraphNode* from,
                                      const CUgraphNode* to, const CUgraphEdgeData*,
                                      size_t numDependencies) {
  return change_edges(hGraph, from, to, nullptr, numDependencies, false);
}
CUresult cuGraphRemoveDependencies(CUgraph hGraph, const CUgraphNode* from, const CUgraphNode* to,
                                   size_t numDependencies) {
  return change_edges(hGraph, from, to, nullptr, numDependencies, false);
}
}
