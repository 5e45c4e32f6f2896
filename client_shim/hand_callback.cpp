// Host functions in a stream or a graph. They run here, when the server says so: host_functions.h.
#include "client_shim/behind.h"
#include "client_shim/capture_info.h"
#include "client_shim/client.h"
#include "client_shim/entry.h"
#include "client_shim/graph_copies.h"
#include "transport/api/hand_graph.h"
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
                  const HostFunctions::Function& function, const Encode& encode, const Take& take,
                  std::uint64_t* added = nullptr) {
  const std::uint64_t id = client.host_functions().add(function);
  if (added != nullptr) *added = id;
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

// Where in which graph the function is, should the stream be captured.
void note_captured(Client& client, CUstream stream, std::uint64_t function) {
  farcall::shim::CaptureInfo info;
  CUresult asked = farcall::shim::capture_info(client, stream, &info);
  if (asked != CUDA_SUCCESS || !info.is_active()) return;
  client.graph_copies().added(info.graph, info.nodes.size() == 1 ? info.nodes[0] : nullptr,
                              function);
}

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
      std::uint64_t added = 0;
      CUresult asked = ask_with(client, Row::info(), function, encode, kStatus, &added);
      if (asked == CUDA_SUCCESS && function.may_repeat) note_captured(client, stream, added);
      return asked;
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
    std::uint64_t added = 0;
    CUresult set = ask_with(client, Row::info(),
                            {.function = params->fn, .data = params->userData, .may_repeat = true},
                            encode, kStatus, &added);
    if (set == CUDA_SUCCESS && exec == nullptr) client.graph_copies().changed(node, added);
    if (set == CUDA_SUCCESS && exec != nullptr) client.graph_copies().changed(exec, node, added);
    return set;
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
    std::uint64_t added = 0;
    CUresult made = ask_with(client, row::cuGraphAddHostNode::info(),
                             {.function = params->fn, .data = params->userData, .may_repeat = true},
                             encode, take, &added);
    if (made == CUDA_SUCCESS) client.graph_copies().added(graph, *node, added);
    return made;
  });
}

FARCALL_EXPORT cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS* params) {
  return set_node<row::cuGraphHostNodeSetParams>(nullptr, node, params);
}

FARCALL_EXPORT cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                            const CUDA_HOST_NODE_PARAMS* params) {
  return set_node<row::cuGraphExecHostNodeSetParams>(exec, node, params);
}

FARCALL_EXPORT cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS* params) {
  return with_client([&](Client& client) {
    if (params == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::uint64_t id = 0;
    auto take = [&](Reply& reply) {
      if (reply.status == CUDA_SUCCESS) id = reply.in.get<std::uint64_t>();
      return reply.status;
    };
    CUresult asked = client.ask(
        row::cuGraphHostNodeGetParams::info(),
        [&](farcall::wire::Writer& out) { out.put(id_of(node)); }, take);
    if (asked != CUDA_SUCCESS) return asked;
    auto function = client.host_functions().find(id);
    // A callback of cuStreamAddCallback is no host function, and CUDA captures none.
    if (!function || function->function == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *params = {function->function, function->data};
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuUserObjectCreate(CUuserObject* object, void* data, CUhostFn destroy,
                                  unsigned references, unsigned flags) {
  return with_client([&](Client& client) {
    if (object == nullptr || destroy == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto encode = [&](farcall::wire::Writer& out, std::uint64_t id) {
      out.put(hand::UserObject{id, references, flags});
    };
    auto take = [&](Reply& reply) {
      if (reply.status == CUDA_SUCCESS) {
        *object = handle_of<CUuserObject>(reply.in.get<std::uint64_t>());
      }
      return reply.status;
    };
    return ask_with(client, row::cuUserObjectCreate::info(), {.function = destroy, .data = data},
                    encode, take);
  });
}
