// Host functions in a stream or a graph. They run here, when the server says so: host_functions.h.
#include "client_shim/behind.h"
#include "client_shim/client.h"
#include "client_shim/entry.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace hand = farcall::api::hand;
namespace row = farcall::api::row;
using farcall::shim::Client;
using farcall::shim::handle_of;
using farcall::shim::HostFunctions;
using farcall::shim::id_of;
using farcall::shim::Reply;
using farcall::shim::ThreadState;
using farcall::shim::with_client;

namespace {

// Hands `function` over with a call that waits for its answer. Only then is it certain that the
// server will ask for it.
template <class Encode, class Take>
CUresult ask_with(Client& client, const farcall::api::RowInfo& info,
                  const HostFunctions::Function& function, const Encode& encode, const Take& take) {
  const std::uint64_t id = client.host_functions().add(function);
  if (id == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult asked = client.ask(
      info, [&](farcall::wire::Writer& out) { encode(out, id); }, take);
  if (asked == CUDA_SUCCESS) {
    client.host_functions().sent(id);
  } else {
    client.host_functions().remove(id);
  }
  return asked;
}

constexpr auto kStatus = [](Reply& reply) { return reply.status; };

template <class Row>
CUresult enqueue(CUstream stream, HostFunctions::Function function) {
  return with_client([&](Client& client) {
    ThreadState& thread = client.this_thread();
    if (thread.in_host_function) return CUDA_ERROR_NOT_PERMITTED;
    if (CUresult fault = client.contexts().fault(thread.current()); fault != CUDA_SUCCESS) {
      return fault;
    }
    auto encode = [&](farcall::wire::Writer& out, std::uint64_t id) {
      out.put(hand::HostFunction{id, id_of(stream)});
    };
    // What a capture refuses the program must hear of now.
    function.may_repeat = client.completions().is_capturing();
    if (function.may_repeat || !client.posts(Row::info())) {
      return ask_with(client, Row::info(), function, encode, kStatus);
    }
    const std::uint64_t id = client.host_functions().add(function);
    if (id == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult posted =
        client.post(thread, Row::info(), [&](farcall::wire::Writer& out) { encode(out, id); });
    if (posted == CUDA_SUCCESS) {
      client.host_functions().sent(id);
    } else {
      client.host_functions().remove(id);
    }
    return posted;
  });
}

template <class Row>
CUresult set_node(CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (params == nullptr || params->fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto encode = [&](farcall::wire::Writer& out, std::uint64_t id) {
      out.put(hand::SetHostNode{id, id_of(exec), id_of(node)});
    };
    return ask_with(client, Row::info(),
                    {.function = params->fn, .data = params->userData, .may_repeat = true}, encode,
                    kStatus);
  });
}

}  // namespace

FARCALL_EXPORT cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return enqueue<row::cuLaunchHostFunc>(stream, {.function = function, .data = data});
}

FARCALL_EXPORT cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void* data,
                                   unsigned int flags) {
  if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return enqueue<row::cuStreamAddCallback>(stream,
                                           {.callback = callback, .stream = stream, .data = data});
}

FARCALL_EXPORT cuGraphAddHostNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                                  std::size_t count, const CUDA_HOST_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (node == nullptr || params == nullptr || params->fn == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (count > 0 && dependencies == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (count > farcall::limits::kArrayItemsMax) return CUDA_ERROR_NOT_SUPPORTED;
    auto encode = [&](farcall::wire::Writer& out, std::uint64_t id) {
      out.put(hand::AddHostNode{id, id_of(graph), static_cast<std::uint32_t>(count), 0});
      for (std::size_t i = 0; i < count; ++i) out.put(id_of(dependencies[i]));
    };
    auto take = [&](Reply& reply) {
      if (reply.status == CUDA_SUCCESS) {
        *node = handle_of<CUgraphNode>(reply.in.get<std::uint64_t>());
      }
      return reply.status;
    };
    return ask_with(client, row::cuGraphAddHostNode::info(),
                    {.function = params->fn, .data = params->userData, .may_repeat = true}, encode,
                    take);
  });
}

FARCALL_EXPORT cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS* params) {
  return set_node<row::cuGraphHostNodeSetParams>(nullptr, node, params);
}

FARCALL_EXPORT cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                            const CUDA_HOST_NODE_PARAMS* params) {
  return set_node<row::cuGraphExecHostNodeSetParams>(exec, node, params);
}
