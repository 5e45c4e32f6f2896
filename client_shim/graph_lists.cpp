#include "client_shim/graph_lists.h"

#include <algorithm>

#include "client_shim/entry.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/base/program_limits.h"

namespace farcall::shim {

namespace hand = api::hand;

namespace {

// False: not what the protocol says.
bool take_page(wire::Reader& in, GraphListOf what, std::size_t wanted, GraphList* list) {
  auto told = in.get<hand::GraphListed>();
  if (told.count > wanted || told.count > limits::kGraphPageItems) return false;
  auto nodes = [&](std::vector<CUgraphNode>& to) {
    for (std::uint32_t i = 0; i < told.count && !in.failed(); ++i) {
      to.push_back(handle_of<CUgraphNode>(in.get<std::uint64_t>()));
    }
  };
  nodes(list->first);
  if (what.kind == hand::kEdges) nodes(list->second);
  for (std::uint32_t i = 0; what.kind >= hand::kEdges && i < told.count; ++i) {
    list->data.push_back(in.get<CUgraphEdgeData>());
  }
  list->total = told.total;
  return in.done();
}

}  // namespace

bool GraphList::has_data() const {
  return std::any_of(data.begin(), data.end(), [](const CUgraphEdgeData& each) {
    return each.from_port != 0 || each.to_port != 0 || each.type != 0;
  });
}

CUresult read_graph_list(Client& client, GraphListOf what, std::size_t room, GraphList* list) {
  *list = {};
  for (;;) {
    const std::size_t had = list->first.size();
    const std::size_t wanted = std::min(room - had, limits::kGraphPageItems);
    auto encode = [&](wire::Writer& out) {
      out.put(hand::ListGraph{what.owner, what.kind, static_cast<std::uint32_t>(had),
                              static_cast<std::uint32_t>(wanted), 0});
    };
    auto take = [&](Reply& reply) {
      if (reply.status != CUDA_SUCCESS) return reply.status;
      if (take_page(reply.in, what, wanted, list)) return CUDA_SUCCESS;
      reply.in.fail();
      return kLinkLost;
    };
    const CUresult read = client.ask(api::row::list_graph::info(), encode, take);
    if (read != CUDA_SUCCESS) return read;
    const std::size_t has = list->first.size();
    // A page that brings nothing is the last one, whatever the total says.
    if (has == had || has >= std::min(room, list->total)) return CUDA_SUCCESS;
  }
}

}  // namespace farcall::shim
