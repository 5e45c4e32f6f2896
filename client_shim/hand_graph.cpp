// Kernel nodes of graphs: their parameters have the size that the kernel gives them.
#include "transport/api/hand_graph.h"
#include "client_shim/behind.h"
#include "client_shim/entry.h"
#include "client_shim/graph_kept.h"
#include "client_shim/graph_nodes.h"
#include "client_shim/launch.h"
#include "transport/api/rows.h"

namespace hand = farcall::api::hand;
namespace row = farcall::api::row;
using farcall::shim::Client;
using farcall::shim::GraphKept;
using farcall::shim::handle_of;
using farcall::shim::id_of;
using farcall::shim::LaunchRequest;
using farcall::shim::NodeLaunch;
using farcall::shim::NodePlace;
using farcall::shim::Reply;
using farcall::shim::with_client;
using farcall::wire::Writer;

namespace {

constexpr auto kStatus = [](Reply& reply) { return reply.status; };

// What of the two the session was told of; cudart gives both.
CUfunction known_function(Client& client, const CUDA_KERNEL_NODE_PARAMS& params) {
  const bool is_known = client.functions().find(id_of(params.func)) != nullptr;
  return is_known || params.kern == nullptr ? params.func
                                            : reinterpret_cast<CUfunction>(params.kern);
}

LaunchRequest request_of(Client& client, const CUDA_KERNEL_NODE_PARAMS& params) {
  LaunchRequest request;
  request.function = known_function(client, params);
  request.config.gridDimX = params.gridDimX;
  request.config.gridDimY = params.gridDimY;
  request.config.gridDimZ = params.gridDimZ;
  request.config.blockDimX = params.blockDimX;
  request.config.blockDimY = params.blockDimY;
  request.config.blockDimZ = params.blockDimZ;
  request.config.sharedMemBytes = params.sharedMemBytes;
  request.params = params.kernelParams;
  request.extra = params.extra;
  return request;
}

void put_kernel(Client& client, Writer& out, const CUDA_KERNEL_NODE_PARAMS& params) {
  const bool has_function = known_function(client, params) == params.func;
  out.put(hand::KernelNode{.function = has_function ? id_of(params.func) : 0,
                           .kernel = id_of(params.kern),
                           .context = id_of(params.ctx),
                           .grid = {params.gridDimX, params.gridDimY, params.gridDimZ},
                           .block = {params.blockDimX, params.blockDimY, params.blockDimZ},
                           .shared_bytes = params.sharedMemBytes,
                           .zero = 0});
}

template <class Row>
CUresult set_kernel(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    NodeLaunch launch;
    CUresult ready = launch.prepare(client, request_of(client, *params));
    if (ready != CUDA_SUCCESS) return ready;
    auto encode = [&](Writer& out) {
      out.put(hand::SetNode{id_of(exec), id_of(node)});
      put_kernel(client, out, *params);
      launch.put_arguments(out);
    };
    return client.ask(Row::info(), encode, kStatus);
  });
}

// The parameters a reply holds, where the program may look at them for as long as the node lives.
void take_arguments(Client& client, Reply& reply, CUgraphNode node,
                    CUDA_KERNEL_NODE_PARAMS* params) {
  GraphKept::Node& kept =
      client.graph_kept().node(node, handle_of<CUgraph>(reply.in.get<std::uint64_t>()));
  auto [form, count] = reply.in.get<hand::LaunchParams>();
  auto bytes = reply.in.bytes(count);
  if (reply.in.failed()) return;
  kept.arguments.assign(bytes.begin(), bytes.end());
  if (form == hand::ParamForm::kBuffer) {
    kept.bytes = kept.arguments.size();
    kept.pointers = {CU_LAUNCH_PARAM_BUFFER_POINTER, kept.arguments.data(),
                     CU_LAUNCH_PARAM_BUFFER_SIZE, &kept.bytes, CU_LAUNCH_PARAM_END};
    params->extra = kept.pointers.data();
    return;
  }
  auto kernel = client.functions().find(id_of(known_function(client, *params)));
  if (kernel == nullptr || kernel->total_param_bytes != kept.arguments.size()) return;
  std::byte* at = kept.arguments.data();
  for (std::uint32_t size : kernel->param_bytes) {
    kept.pointers.push_back(at);
    at += size;
  }
  params->kernelParams = kept.pointers.data();
}

}  // namespace

FARCALL_EXPORT cuGraphAddKernelNode_v2(CUgraphNode* node, CUgraph graph,
                                       const CUgraphNode* dependencies, std::size_t count,
                                       const CUDA_KERNEL_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    const NodePlace place{node, graph, dependencies, count};
    if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (CUresult bad = place.check(); bad != CUDA_SUCCESS) return bad;
    NodeLaunch launch;
    CUresult ready = launch.prepare(client, request_of(client, *params));
    if (ready != CUDA_SUCCESS) return ready;
    auto encode = [&](Writer& out) {
      place.put(out);
      put_kernel(client, out, *params);
      launch.put_arguments(out);
    };
    auto take = [&](Reply& reply) {
      if (reply.status == CUDA_SUCCESS) {
        *node = handle_of<CUgraphNode>(reply.in.get<std::uint64_t>());
      }
      return reply.status;
    };
    return client.ask(row::cuGraphAddKernelNode_v2::info(), encode, take);
  });
}

FARCALL_EXPORT cuGraphKernelNodeSetParams_v2(CUgraphNode node,
                                             const CUDA_KERNEL_NODE_PARAMS* params) {
  return set_kernel<row::cuGraphKernelNodeSetParams_v2>(nullptr, node, params);
}

FARCALL_EXPORT cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                                 const CUDA_KERNEL_NODE_PARAMS* params) {
  return set_kernel<row::cuGraphExecKernelNodeSetParams_v2>(exec, node, params);
}

FARCALL_EXPORT cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto take = [&](Reply& reply) {
      if (reply.status != CUDA_SUCCESS) return reply.status;
      auto told = reply.in.get<hand::KernelNode>();
      *params = {};
      params->func = handle_of<CUfunction>(told.function);
      params->kern = handle_of<CUkernel>(told.kernel);
      params->ctx = handle_of<CUcontext>(told.context);
      params->gridDimX = told.grid[0];
      params->gridDimY = told.grid[1];
      params->gridDimZ = told.grid[2];
      params->blockDimX = told.block[0];
      params->blockDimY = told.block[1];
      params->blockDimZ = told.block[2];
      params->sharedMemBytes = told.shared_bytes;
      take_arguments(client, reply, node, params);
      return CUDA_SUCCESS;
    };
    return client.ask(
        row::cuGraphKernelNodeGetParams_v2::info(), [&](Writer& out) { out.put(id_of(node)); },
        take);
  });
}
