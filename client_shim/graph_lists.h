// Lists of a graph that may be longer than a message: its nodes, its edges, what a node depends on.
//
//   GraphList list;
//   CUresult read = read_graph_list(client, {hand::kEdges, id_of(graph)}, room, &list);
//
// Read page by page, a round trip each; what the functions of CUDA make of them is in
// exports_graph.cpp. A graph that another thread changes meanwhile may be told of in part as
// it was and in part as it is, and CUDA forbids that anyway.
// Threads: any.
#pragma once
#include <vector>

#include "client_shim/client.h"
#include "transport/api/hand_graph.h"

namespace farcall::shim {

struct GraphList {
  std::size_t total = 0;            // as many as there are
  std::vector<CUgraphNode> first;   // as many as were asked for
  std::vector<CUgraphNode> second;  // of edges: where they lead to
  std::vector<CUgraphEdgeData> data;
  // Whether some edge has data, which an older form of a function cannot tell.
  bool has_data() const;
};

struct GraphListOf {
  api::hand::GraphListKind kind;
  std::uint64_t owner;  // graph or node
};

// room: how many the caller wants.
// Errors: the driver's; CUDA_ERROR_OUT_OF_MEMORY beyond limits::kGraphListItemsMax.
CUresult read_graph_list(Client& client, GraphListOf what, std::size_t room, GraphList* list);

}  // namespace farcall::shim
