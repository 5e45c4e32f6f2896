// What the functions that list nodes or edges, and those that add and remove edges, make of lists
// that are longer than a message.
//
//   return list_nodes<row::cuGraphGetNodes>(hand::kNodes, graph, nodes, count);
//   return change_edges<row::cuGraphAddDependencies>(graph, from, to, count);
//
// Threads: any.
#pragma once
#include <algorithm>

#include "client_shim/entry.h"
#include "client_shim/graph_lists.h"
#include "transport/api/client_call.h"
#include "transport/base/program_limits.h"

namespace farcall::shim {

// Where a program wants a list; second and data may be null.
struct ListPlaces {
  CUgraphNode* first;
  CUgraphNode* second;
  CUgraphEdgeData* data;
  std::size_t* count;
};

inline CUresult read_pages(GraphListOf what, const ListPlaces& to) {
  return with_client([&](Client& client) {
    GraphList list;
    const CUresult read = read_graph_list(client, what, *to.count, &list);
    if (read != CUDA_SUCCESS) return read;
    if (to.data == nullptr && list.has_data()) return CUDA_ERROR_LOSSY_QUERY;
    std::copy(list.first.begin(), list.first.end(), to.first);
    if (to.second != nullptr) std::copy(list.second.begin(), list.second.end(), to.second);
    if (to.data != nullptr) std::copy(list.data.begin(), list.data.end(), to.data);
    *to.count = list.first.size();
    return CUDA_SUCCESS;
  });
}

// What fits a reply is a row's own business.
//   call  the row
template <class Call>
CUresult read_list(GraphListOf what, const ListPlaces& to, const Call& call) {
  const bool is_wanted = to.first != nullptr && to.count != nullptr;
  const std::size_t room = is_wanted ? *to.count : 0;
  const bool fits = room <= limits::kGraphPageItems;
  const bool is_whole = what.kind != api::hand::kEdges || to.second != nullptr;
  const CUresult read = fits || !is_whole ? call() : read_pages(what, to);
  if (read != CUDA_SUCCESS || !is_wanted || room > limits::kGraphListItemsMax) return read;
  // Told by the server, and so not to be believed beyond the room there is.
  *to.count = std::min(*to.count, room);
  // "If numNodes is higher than the actual number of nodes, the remaining entries in nodes will be
  // set to NULL" (cuda.h).
  std::fill(to.first + *to.count, to.first + room, nullptr);
  if (to.second != nullptr) std::fill(to.second + *to.count, to.second + room, nullptr);
  return read;
}

template <class Row, class Owner>
CUresult list_nodes(api::hand::GraphListKind kind, Owner owner, CUgraphNode* nodes,
                    std::size_t* count) {
  return read_list({kind, id_of(owner)}, {nodes, nullptr, nullptr, count},
                   [&] { return api::call<Row>(owner, nodes, count); });
}

template <class Row>
CUresult list_nodes(api::hand::GraphListKind kind, CUgraphNode node, CUgraphNode* nodes,
                    CUgraphEdgeData* data, std::size_t* count) {
  return read_list({kind, id_of(node)}, {nodes, nullptr, data, count},
                   [&] { return api::call<Row>(node, nodes, data, count); });
}

// More edges than a message holds go in several.
template <class Send>
CUresult in_pieces(std::size_t count, const Send& send) {
  // A count may be any number: further than this nobody's list is read.
  if (count > limits::kGraphListItemsMax) return CUDA_ERROR_NOT_SUPPORTED;
  CUresult sent = CUDA_SUCCESS;
  std::size_t at = 0;
  do {
    const std::size_t piece = std::min(count - at, limits::kGraphPageItems);
    sent = send(at, piece);
    at += piece;
  } while (sent == CUDA_SUCCESS && at < count);
  return sent;
}

template <class Row>
CUresult change_edges(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                      std::size_t count) {
  return in_pieces(count, [&](std::size_t at, std::size_t piece) {
    return api::call<Row>(graph, from == nullptr ? from : from + at, to == nullptr ? to : to + at,
                          piece);
  });
}

template <class Row>
CUresult change_edges(CUgraph graph, const CUgraphNode* from, const CUgraphNode* to,
                      const CUgraphEdgeData* data, std::size_t count) {
  return in_pieces(count, [&](std::size_t at, std::size_t piece) {
    return api::call<Row>(graph, from == nullptr ? from : from + at, to == nullptr ? to : to + at,
                          data == nullptr ? data : data + at, piece);
  });
}

}  // namespace farcall::shim
