// Host functions: what stands for them in a stream or a graph here, and the messages that run them
// in the client (host_gates.h). Bodies: transport/api/hand.h.
#include "gpu_server/host_gates.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// Where a function of this stream ends at the latest. A stream may be of another context than the
// current one; CUDA's own streams are not.
CUcontext context_of(const Driver& driver, CUstream stream) {
  CUcontext context = nullptr;
  if (driver.cuCtxGetCurrent != nullptr) (void)driver.cuCtxGetCurrent(&context);
  const bool is_own = stream == nullptr || stream == CU_STREAM_LEGACY;
  if (is_own || driver.cuStreamGetCtx == nullptr) return context;
  CUcontext named = nullptr;
  return driver.cuStreamGetCtx(stream, &named) == CUDA_SUCCESS ? named : context;
}

// `enqueue` gives the gate to the driver.
template <class Enqueue>
CUresult place(Call& call, const HostGates::What& what, const Enqueue& enqueue) {
  HostGates::Gate* gate = call.host_gates.add(what);
  if (gate == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult placed = enqueue(gate);
  if (placed != CUDA_SUCCESS) call.host_gates.remove(gate);
  return placed;
}

CUresult place_in_stream(Call& call, std::uint64_t id, CUstream stream) {
  const Driver& driver = call.driver;
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  if (driver.cuStreamIsCapturing != nullptr) {
    CUresult asked = driver.cuStreamIsCapturing(stream, &capture);
    if (asked != CUDA_SUCCESS) return asked;
  }
  const HostGates::What what{.id = id,
                             .context = context_of(driver, stream),
                             .repeats = capture != CU_STREAM_CAPTURE_STATUS_NONE};
  if (call.head.id == row::cuStreamAddCallback::info().id) {
    if (driver.cuStreamAddCallback == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
    return place(call, what, [&](HostGates::Gate* gate) {
      return driver.cuStreamAddCallback(stream, HostGates::at_callback, gate, 0);
    });
  }
  if (driver.cuLaunchHostFunc == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return place(call, what, [&](HostGates::Gate* gate) {
    return driver.cuLaunchHostFunc(stream, HostGates::at_function, gate);
  });
}

Verdict enqueue(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto function = call.in.get<hand::HostFunction>();
  auto stream = load_id<CUstream>(load, function.stream);
  if (!call.in.done()) return Verdict::kMalformed;
  CUresult placed =
      load.refused != CUDA_SUCCESS ? load.refused : place_in_stream(call, function.id, stream);
  const bool is_asked = (call.head.flags & wire::kWantsReply) != 0;
  if (placed != CUDA_SUCCESS && !is_asked) call.host_gates.call_off(function.id, placed);
  return call.status(placed);
}

Verdict await_function(Call& call) {
  const bool is_asked = (call.head.flags & wire::kWantsReply) != 0;
  if (!call.in.done() || !is_asked || !call.host_gates.await(call.head)) return Verdict::kMalformed;
  return Verdict::kSent;
}

Verdict finish_function(Call& call) {
  auto [turn] = call.in.get<hand::FinishHostFunction>();
  if (!call.in.done()) return Verdict::kMalformed;
  call.host_gates.finish(turn);
  return call.status(CUDA_SUCCESS);
}

CUcontext current(const Driver& driver) { return context_of(driver, nullptr); }

Verdict add_node(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto head = call.in.get<hand::AddHostNode>();
  auto graph = load_id<CUgraph>(load, head.graph);
  if (call.in.failed() || head.dependency_count > limits::kArrayItemsMax) {
    return Verdict::kMalformed;
  }
  auto* after = call.scratch.array<CUgraphNode>(head.dependency_count + std::size_t{1});
  if (after == nullptr) return Verdict::kMalformed;
  for (std::uint32_t i = 0; i < head.dependency_count; ++i) {
    after[i] = api::load_item<CUgraphNode>(load);
  }
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (call.driver.cuGraphAddHostNode == nullptr) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUgraphNode node = nullptr;
  CUresult placed = place(call, {head.id, current(call.driver), true}, [&](HostGates::Gate* gate) {
    CUDA_HOST_NODE_PARAMS params{HostGates::at_function, gate};
    return call.driver.cuGraphAddHostNode(&node, graph, after, head.dependency_count, &params);
  });
  if (placed != CUDA_SUCCESS) return call.status(placed);
  call.status(CUDA_SUCCESS);
  api::Answer answer(call.out, call.handles);
  api::answer_item(answer, node, head.graph);
  if (!answer.full) return Verdict::kAnswered;
  call.out.rewind(0);
  return call.status(CUDA_ERROR_OUT_OF_MEMORY);
}

// The gate of the old function stays: the node may be in other graphs.
Verdict set_node(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto head = call.in.get<hand::SetHostNode>();
  auto exec = load_id<CUgraphExec>(load, head.exec);
  auto node = load_id<CUgraphNode>(load, head.node);
  const bool is_exec = call.head.id == row::cuGraphExecHostNodeSetParams::info().id;
  if (!call.in.done() || (!is_exec && head.exec != 0)) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  const Driver& driver = call.driver;
  auto set_params = [&](HostGates::Gate* gate) {
    CUDA_HOST_NODE_PARAMS params{HostGates::at_function, gate};
    if (!is_exec && driver.cuGraphHostNodeSetParams != nullptr) {
      return driver.cuGraphHostNodeSetParams(node, &params);
    }
    if (is_exec && driver.cuGraphExecHostNodeSetParams != nullptr) {
      return driver.cuGraphExecHostNodeSetParams(exec, node, &params);
    }
    return CUDA_ERROR_NOT_SUPPORTED;
  };
  return call.status(place(call, {head.id, current(driver), true}, set_params));
}

// What of ours stands for the function of a host node; 0 for a node that is not a client's.
Verdict get_node(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto node = api::load_item<CUgraphNode>(load);
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (!call.driver.cuGraphHostNodeGetParams) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_HOST_NODE_PARAMS params{};
  CUresult got = call.driver.cuGraphHostNodeGetParams(node, &params);
  call.status(got);
  if (got != CUDA_SUCCESS) return Verdict::kAnswered;
  call.out.put(call.host_gates.id_of(params.userData));
  return Verdict::kAnswered;
}

// Its destructor is called when the last reference goes, on whatever thread that happens.
Verdict create_object(Call& call) {
  auto head = call.in.get<hand::UserObject>();
  if (!call.in.done()) return Verdict::kMalformed;
  if (!call.driver.cuUserObjectCreate) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUuserObject object = nullptr;
  CUresult placed = place(call, {head.destructor, nullptr, false}, [&](HostGates::Gate* gate) {
    return call.driver.cuUserObjectCreate(&object, gate, HostGates::at_end, head.references,
                                          head.flags);
  });
  call.status(placed);
  if (placed != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  api::answer_item(answer, object);
  if (!answer.full) return Verdict::kAnswered;
  call.out.rewind(0);
  return call.status(CUDA_ERROR_OUT_OF_MEMORY);
}

}  // namespace

std::span<const HandRow> hand_callback_rows() {
  static const HandRow rows[] = {
      {row::cuLaunchHostFunc::info(), enqueue},
      {row::cuStreamAddCallback::info(), enqueue},
      {row::await_host_function::info(), await_function},
      {row::finish_host_function::info(), finish_function},
      {row::cuGraphAddHostNode::info(), add_node},
      {row::cuGraphHostNodeSetParams::info(), set_node},
      {row::cuGraphExecHostNodeSetParams::info(), set_node},
      {row::cuGraphHostNodeGetParams::info(), get_node},
      {row::cuUserObjectCreate::info(), create_object},
  };
  return rows;
}

}  // namespace farcall::server
