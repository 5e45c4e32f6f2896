// Memory and conditional nodes of graphs: what they give back lives as long as they do.
#include <span>
#include "client_shim/behind.h"

#include "client_shim/entry.h"
#include "client_shim/graph_copies.h"
#include "client_shim/graph_kept.h"
#include "client_shim/graph_nodes.h"
#include "transport/api/deep.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"

namespace api = farcall::api;
namespace hand = farcall::api::hand;
namespace limits = farcall::limits;
namespace row = farcall::api::row;
using farcall::shim::Client;
using farcall::shim::GraphKept;
using farcall::shim::handle_of;
using farcall::shim::id_of;
using farcall::shim::NodePlace;
using farcall::shim::Reply;
using farcall::shim::with_client;
using farcall::wire::Writer;

FARCALL_EXPORT cuGraphAddMemAllocNode(CUgraphNode* node, CUgraph graph,
                                      const CUgraphNode* dependencies, std::size_t count,
                                      CUDA_MEM_ALLOC_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    const NodePlace place{node, graph, dependencies, count};
    if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (CUresult bad = place.check(); bad != CUDA_SUCCESS) return bad;
    if (params->accessDescCount > 0 && params->accessDescs == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (params->accessDescCount > limits::kArrayItemsMax) return CUDA_ERROR_INVALID_VALUE;
    CUresult bad = api::Deep<CUmemPoolProps>::check(params->poolProps);
    if (bad != CUDA_SUCCESS) return bad;
    auto encode = [&](Writer& out) {
      place.put(out);
      api::Deep<CUmemPoolProps>::put(out, params->poolProps);
      out.put(static_cast<std::uint64_t>(params->bytesize));
      out.put(static_cast<std::uint32_t>(params->accessDescCount));
      for (std::size_t i = 0; i < params->accessDescCount; ++i)
        api::put_item(out, params->accessDescs[i]);
    };
    auto take = [&](Reply& reply) {
      if (reply.status != CUDA_SUCCESS) return reply.status;
      *node = handle_of<CUgraphNode>(reply.in.get<std::uint64_t>());
      params->dptr = reply.in.get<std::uint64_t>();
      return CUDA_SUCCESS;
    };
    CUresult added = client.ask(row::cuGraphAddMemAllocNode::info(), encode, take);
    if (added != CUDA_SUCCESS) return added;
    client.remember_graph_memory(params->dptr, params->bytesize);
    const std::span access(params->accessDescs, params->accessDescCount);
    client.graph_kept().node(*node, graph).access.assign(access.begin(), access.end());
    return added;
  });
}

FARCALL_EXPORT cuGraphBatchMemOpNodeGetParams(CUgraphNode node,
                                              CUDA_BATCH_MEM_OP_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto take = [&](Reply& reply) {
      if (reply.status != CUDA_SUCCESS) return reply.status;
      *params = {};
      params->ctx = handle_of<CUcontext>(reply.in.get<std::uint64_t>());
      auto graph = handle_of<CUgraph>(reply.in.get<std::uint64_t>());
      params->count = reply.in.get<std::uint32_t>();
      params->flags = reply.in.get<std::uint32_t>();
      GraphKept::Node& kept = client.graph_kept().node(node, graph);
      for (unsigned i = 0; i < params->count && !reply.in.failed(); ++i) {
        kept.mem_ops.push_back(reply.in.get<CUstreamBatchMemOpParams>());
      }
      params->paramArray = kept.mem_ops.data();
      return CUDA_SUCCESS;
    };
    return client.ask(
        row::cuGraphBatchMemOpNodeGetParams::info(), [&](Writer& out) { out.put(id_of(node)); },
        take);
  });
}

namespace farcall::shim {

CUresult add_conditional(Client& client, CUgraphNode* node, CUgraph graph,
                         std::span<const CUgraphNode> after, CUgraphNodeParams* params) {
  const NodePlace place{node, graph, after.data(), after.size()};
  CUDA_CONDITIONAL_NODE_PARAMS& wanted = params->conditional;
  if (CUresult bad = place.check(); bad != CUDA_SUCCESS) return bad;
  if (wanted.size == 0 || wanted.size > limits::kGraphBodiesMax) return CUDA_ERROR_INVALID_VALUE;
  auto encode = [&](Writer& out) {
    place.put(out);
    out.put(hand::ConditionalNode{wanted.handle, id_of(wanted.ctx),
                                  static_cast<std::uint32_t>(wanted.type), wanted.size});
  };
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    *node = handle_of<CUgraphNode>(reply.in.get<std::uint64_t>());
    GraphKept::Node& kept = client.graph_kept().node(*node, graph);
    for (unsigned i = 0; i < wanted.size; ++i) {
      kept.bodies.push_back(handle_of<CUgraph>(reply.in.get<std::uint64_t>()));
    }
    wanted.phGraph_out = kept.bodies.data();
    return CUDA_SUCCESS;
  };
  CUresult added = client.ask(row::cuGraphAddNode_v2::info(), encode, take);
  if (added == CUDA_SUCCESS) {
    client.graph_copies().added_bodies(graph, *node,
                                       {wanted.phGraph_out, wanted.phGraph_out + wanted.size});
  }
  return added;
}

}  // namespace farcall::shim
