// Graphs that are instantiated and changed, with what a failure tells; and what a capture is at.
#include <atomic>
#include <cstdio>

#include "client_shim/behind.h"
#include "client_shim/capture_info.h"
#include "client_shim/entry.h"
#include "client_shim/graph_copies.h"
#include "client_shim/graph_kept.h"
#include "client_shim/graph_nodes.h"
#include "transport/api/hand_graph.h"
#include "transport/api/refuse.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"

namespace hand = farcall::api::hand;
namespace row = farcall::api::row;
using farcall::shim::CaptureInfo;
using farcall::shim::Client;
using farcall::shim::handle_of;
using farcall::shim::id_of;
using farcall::shim::Reply;
using farcall::shim::with_client;
using farcall::wire::Writer;

namespace {

const char* text_of(CUgraphInstantiateResult result) {
  switch (result) {
    case CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE: return "the graph has an invalid structure";
    case CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED:
      return "a node's operation cannot be launched from the device";
    case CUDA_GRAPH_INSTANTIATE_MULTIPLE_CTXS_NOT_SUPPORTED:
      return "the nodes belong to several contexts";
    case CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED:
      return "a conditional handle has no conditional node";
    default: return "the graph could not be instantiated";
  }
}

}  // namespace

CUresult farcall::shim::refuse_device_launch(unsigned long long flags) {
  if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) == 0) return CUDA_SUCCESS;
  static std::atomic_flag said;
  return static_cast<CUresult>(
      farcall::api::refuse(said, "CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH",
                           "the handle of a graph means nothing to a kernel on another machine"));
}

FARCALL_EXPORT cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph graph,
                                            CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (exec == nullptr || params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (CUresult no = farcall::shim::refuse_device_launch(params->flags); no != CUDA_SUCCESS) {
      params->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
      return no;
    }
    auto encode = [&](Writer& out) {
      out.put(hand::Instantiate{id_of(graph), params->flags, id_of(params->hUploadStream)});
    };
    auto take = [&](Reply& reply) {
      // A failure of an earlier call comes without it.
      params->hErrNode_out = nullptr;
      params->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
      if (reply.in.left() == 0) return reply.status;
      auto told = reply.in.get<hand::InstantiateResult>();
      params->hErrNode_out = handle_of<CUgraphNode>(told.error_node);
      params->result_out = static_cast<CUgraphInstantiateResult>(told.result);
      if (reply.status == CUDA_SUCCESS) *exec = handle_of<CUgraphExec>(told.exec);
      return reply.status;
    };
    CUresult made = client.ask(row::cuGraphInstantiateWithParams::info(), encode, take);
    if (made == CUDA_SUCCESS) client.graph_copies().instantiated(graph, *exec);
    return made;
  });
}

FARCALL_EXPORT cuGraphInstantiate_v2(CUgraphExec* exec, CUgraph graph, CUgraphNode* error_node,
                                     char* log, std::size_t log_bytes) {
  CUDA_GRAPH_INSTANTIATE_PARAMS params{};
  CUresult made = cuGraphInstantiateWithParams(exec, graph, &params);
  if (error_node != nullptr) *error_node = params.hErrNode_out;
  if (log != nullptr && log_bytes > 0) {
    const char* text = made == CUDA_SUCCESS ? "" : text_of(params.result_out);
    std::snprintf(log, log_bytes, "%s", text);
  }
  return made;
}

FARCALL_EXPORT cuGraphInstantiate(CUgraphExec* exec, CUgraph graph, CUgraphNode* error_node,
                                  char* log, std::size_t log_bytes) {
  return cuGraphInstantiate_v2(exec, graph, error_node, log, log_bytes);
}

FARCALL_EXPORT cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph,
                                    CUgraphExecUpdateResultInfo* info) {
  return with_client([&](Client& client) {
    if (info == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto encode = [&](Writer& out) {
      out.put(id_of(exec));
      out.put(id_of(graph));
    };
    auto take = [&](Reply& reply) {
      *info = {CU_GRAPH_EXEC_UPDATE_ERROR, nullptr, nullptr};
      if (reply.in.left() == 0) return reply.status;
      auto told = reply.in.get<hand::UpdateResult>();
      *info = {static_cast<CUgraphExecUpdateResult>(told.result),
               handle_of<CUgraphNode>(told.error_node),
               handle_of<CUgraphNode>(told.error_from_node)};
      return reply.status;
    };
    CUresult updated = client.ask(row::cuGraphExecUpdate_v2::info(), encode, take);
    if (updated == CUDA_SUCCESS) {
      client.graph_copies().destroyed(exec);
      client.graph_copies().instantiated(graph, exec);
    }
    return updated;
  });
}

FARCALL_EXPORT cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode* error_node,
                                 CUgraphExecUpdateResult* result) {
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUgraphExecUpdateResultInfo info{};
  CUresult updated = cuGraphExecUpdate_v2(exec, graph, &info);
  if (error_node != nullptr) *error_node = info.errorNode;
  *result = info.result;
  return updated;
}

namespace farcall::shim {

CUresult capture_info(Client& client, CUstream stream, CaptureInfo* info) {
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    auto told = reply.in.get<hand::CaptureInfo>();
    if (told.node_count > limits::kArrayItemsMax) {
      reply.in.fail();
      return kLinkLost;
    }
    *info = {};
    info->status = static_cast<CUstreamCaptureStatus>(told.status);
    info->id = told.id;
    info->graph = handle_of<CUgraph>(told.graph);
    for (std::uint32_t i = 0; i < told.node_count && !reply.in.failed(); ++i) {
      info->nodes.push_back(handle_of<CUgraphNode>(reply.in.get<std::uint64_t>()));
    }
    for (std::uint32_t i = 0; told.has_edges != 0 && i < told.node_count; ++i) {
      info->edges.push_back(reply.in.get<CUgraphEdgeData>());
    }
    return CUDA_SUCCESS;
  };
  return client.ask(
      row::cuStreamGetCaptureInfo_v3::info(), [&](Writer& out) { out.put(id_of(stream)); }, take);
}

}  // namespace farcall::shim

FARCALL_EXPORT cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus* status,
                                         cuuint64_t* id, CUgraph* graph, const CUgraphNode** nodes,
                                         const CUgraphEdgeData** edges, std::size_t* count) {
  return with_client([&](Client& client) {
    if (status == nullptr || (edges != nullptr && nodes == nullptr)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    CaptureInfo told;
    CUresult asked = farcall::shim::capture_info(client, stream, &told);
    if (asked != CUDA_SUCCESS) return asked;
    const auto& thread = client.this_thread();
    const auto kept =
        client.graph_kept().keep({stream, thread.current(), thread.number}, std::move(told));
    const CaptureInfo& info = *kept;
    *status = info.status;
    if (id != nullptr) *id = info.id;
    if (graph != nullptr) *graph = info.graph;
    if (nodes != nullptr) *nodes = info.nodes.data();
    if (edges != nullptr) *edges = info.edges.empty() ? nullptr : info.edges.data();
    if (count != nullptr) *count = info.nodes.size();
    return edges == nullptr && !info.edges.empty() && nodes != nullptr ? CUDA_ERROR_LOSSY_QUERY
                                                                       : CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus* status,
                                         cuuint64_t* id, CUgraph* graph, const CUgraphNode** nodes,
                                         std::size_t* count) {
  return cuStreamGetCaptureInfo_v3(stream, status, id, graph, nodes, nullptr, count);
}

FARCALL_EXPORT cuStreamBeginCapture(CUstream stream) {
  return cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}
