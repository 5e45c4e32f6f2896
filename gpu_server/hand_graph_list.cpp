// Lists of graphs, page by page: the driver gives a list whole, and a reply has a limit. Bodies:
// transport/api/hand_graph.h.
#include <algorithm>
#include <vector>

#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"
#include "transport/base/program_limits.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

struct List {
  std::vector<CUgraphNode> first, second;
  std::vector<CUgraphEdgeData> data;
};

// Asks how many there are, makes room and asks for them.
//   ask  of a driver's function, with null for lists that are not wanted
template <class Ask>
CUresult gather(List& list, bool has_second, const Ask& ask) {
  std::size_t count = 0;
  if (CUresult failed = ask(nullptr, nullptr, nullptr, &count)) return failed;
  if (count > limits::kGraphListItemsMax) return CUDA_ERROR_OUT_OF_MEMORY;
  if (count == 0) return CUDA_SUCCESS;
  list.first.resize(count);
  if (has_second) list.second.resize(count);
  list.data.resize(count);
  CUresult asked =
      ask(list.first.data(), has_second ? list.second.data() : nullptr, list.data.data(), &count);
  list.first.resize(std::min(count, list.first.size()));
  return asked;
}

// Drivers before CUDA 12.3 know of no data, and their edges have none.
template <class Function, class Older>
CUresult node_list(List& list, CUgraphNode node, Function function, Older older) {
  if (function == nullptr && older == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return gather(list, false,
                [&](CUgraphNode* nodes, CUgraphNode*, CUgraphEdgeData* data, std::size_t* count) {
                  return function != nullptr ? function(node, nodes, data, count)
                                             : older(node, nodes, count);
                });
}

CUresult graph_list(List& list, const Driver& driver, CUgraph graph, std::uint32_t kind) {
  if (kind == hand::kEdges) {
    auto newer = driver.cuGraphGetEdges_v2;
    auto older = driver.cuGraphGetEdges;
    if (newer == nullptr && older == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
    return gather(
        list, true,
        [&](CUgraphNode* from, CUgraphNode* to, CUgraphEdgeData* data, std::size_t* count) {
          return newer != nullptr ? newer(graph, from, to, data, count)
                                  : older(graph, from, to, count);
        });
  }
  auto function = kind == hand::kNodes ? driver.cuGraphGetNodes : driver.cuGraphGetRootNodes;
  if (function == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return gather(list, false,
                [&](CUgraphNode* nodes, CUgraphNode*, CUgraphEdgeData*, std::size_t* count) {
                  return function(graph, nodes, count);
                });
}

CUresult load_list(List& list, Call& call, const hand::ListGraph& asked) {
  api::Load load{call.in, call.handles, call.scratch};
  if (asked.kind < hand::kDependencies) {
    auto graph = load_id<CUgraph>(load, asked.owner);
    return load.refused != CUDA_SUCCESS ? load.refused
                                        : graph_list(list, call.driver, graph, asked.kind);
  }
  auto node = load_id<CUgraphNode>(load, asked.owner);
  if (load.refused != CUDA_SUCCESS) return load.refused;
  const Driver& driver = call.driver;
  return asked.kind == hand::kDependencies
             ? node_list(list, node, driver.cuGraphNodeGetDependencies_v2,
                         driver.cuGraphNodeGetDependencies)
             : node_list(list, node, driver.cuGraphNodeGetDependentNodes_v2,
                         driver.cuGraphNodeGetDependentNodes);
}

Verdict list_graph(Call& call) {
  auto asked = call.in.get<hand::ListGraph>();
  if (!call.in.done() || asked.kind > hand::kDependentNodes ||
      asked.count > limits::kGraphPageItems) {
    return Verdict::kMalformed;
  }
  List list;
  const CUresult loaded = load_list(list, call, asked);
  call.status(loaded);
  if (loaded != CUDA_SUCCESS) return Verdict::kAnswered;
  const std::size_t total = list.first.size();
  const std::size_t from = std::min<std::size_t>(asked.first, total);
  const std::size_t count = std::min<std::size_t>(asked.count, total - from);
  const bool is_of_node = asked.kind >= hand::kDependencies;
  const std::uint64_t graph = is_of_node ? call.handles.graph_of(asked.owner) : asked.owner;
  api::Answer answer(call.out, call.handles);
  call.out.put(
      hand::GraphListed{static_cast<std::uint32_t>(total), static_cast<std::uint32_t>(count)});
  for (std::size_t i = 0; i < count; ++i) api::answer_item(answer, list.first[from + i], graph);
  for (std::size_t i = 0; asked.kind == hand::kEdges && i < count; ++i) {
    api::answer_item(answer, list.second[from + i], graph);
  }
  for (std::size_t i = 0; asked.kind >= hand::kEdges && i < count; ++i) {
    call.out.put(list.data[from + i]);
  }
  if (!answer.full) return Verdict::kAnswered;
  call.out.rewind(0);
  return call.status(CUDA_ERROR_OUT_OF_MEMORY);
}

}  // namespace

std::span<const HandRow> hand_graph_list_rows() {
  static const HandRow rows[] = {{row::list_graph::info(), list_graph}};
  return rows;
}

}  // namespace farcall::server
