// Graphs: nodes whose parameters have no fixed size, and calls that answer also when they fail.
// Bodies: transport/api/hand.h. Host nodes and user objects are in hand_callback.cpp.
#include <algorithm>

#include "gpu_server/launch_arguments.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/deep.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// Where a new node goes.
struct Place {
  std::uint64_t graph_id = 0;
  CUgraph graph = nullptr;
  CUgraphNode* after = nullptr;
  std::size_t count = 0;
};

// False: malformed.
bool load_place(api::Load& load, Place& place) {
  auto head = load.in.get<hand::AddNode>();
  place.graph_id = head.graph;
  place.graph = load_id<CUgraph>(load, head.graph);
  place.count = head.dependency_count;
  if (load.in.failed() || place.count > limits::kArrayItemsMax) return false;
  place.after = load.scratch.array<CUgraphNode>(place.count + 1);
  if (place.after == nullptr) return false;
  for (std::size_t i = 0; i < place.count; ++i) {
    place.after[i] = api::load_item<CUgraphNode>(load);
  }
  return !load.in.failed();
}

Verdict finish(Call& call, const api::Answer& answer) {
  if (!answer.full) return Verdict::kAnswered;
  call.out.rewind(0);
  return call.status(CUDA_ERROR_OUT_OF_MEMORY);
}

// --- kernel nodes

// False: malformed.
bool load_kernel(Call& call, api::Load& load, CUDA_KERNEL_NODE_PARAMS& params) {
  auto head = call.in.get<hand::KernelNode>();
  auto function = load_id<CUfunction>(load, head.function);
  auto kernel = load_id<CUkernel>(load, head.kernel);
  if (function == nullptr && kernel == nullptr) load.refuse(CUDA_ERROR_INVALID_HANDLE);
  params = {.func = function,
            .gridDimX = head.grid[0],
            .gridDimY = head.grid[1],
            .gridDimZ = head.grid[2],
            .blockDimX = head.block[0],
            .blockDimY = head.block[1],
            .blockDimZ = head.block[2],
            .sharedMemBytes = head.shared_bytes,
            .kernelParams = nullptr,
            .extra = nullptr,
            .kern = kernel,
            .ctx = load_id<CUcontext>(load, head.context)};
  LaunchArguments arguments;
  auto layout = function != nullptr
                    ? layout_of(call, head.function, function)
                    : layout_of(call, head.kernel, reinterpret_cast<CUfunction>(kernel));
  if (!load_arguments(load, layout, arguments) || !load.in.done()) return false;
  params.kernelParams = arguments.params;
  params.extra = arguments.extra;
  return true;
}

Verdict add_kernel(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  Place place;
  CUDA_KERNEL_NODE_PARAMS params{};
  if (!load_place(load, place) || !load_kernel(call, load, params)) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (!call.driver.cuGraphAddKernelNode_v2) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUgraphNode node = nullptr;
  CUresult added =
      call.driver.cuGraphAddKernelNode_v2(&node, place.graph, place.after, place.count, &params);
  call.status(added);
  if (added != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  api::answer_item(answer, node, place.graph_id);
  return finish(call, answer);
}

Verdict set_kernel(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto head = call.in.get<hand::SetNode>();
  auto exec = load_id<CUgraphExec>(load, head.exec);
  auto node = load_id<CUgraphNode>(load, head.node);
  const bool is_exec = call.head.id == row::cuGraphExecKernelNodeSetParams_v2::info().id;
  CUDA_KERNEL_NODE_PARAMS params{};
  if (!load_kernel(call, load, params) || (!is_exec && head.exec != 0)) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  const Driver& driver = call.driver;
  if (is_exec) {
    if (!driver.cuGraphExecKernelNodeSetParams_v2) return call.status(CUDA_ERROR_NOT_SUPPORTED);
    return call.status(driver.cuGraphExecKernelNodeSetParams_v2(exec, node, &params));
  }
  if (!driver.cuGraphKernelNodeSetParams_v2) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  return call.status(driver.cuGraphKernelNodeSetParams_v2(node, &params));
}

// The size of the buffer of the older form of passing parameters, and the buffer.
std::span<const std::byte> buffer_of(void** extra) {
  const void* at = nullptr;
  std::size_t bytes = 0;
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) at = extra[1];
    if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) bytes = *static_cast<const std::size_t*>(extra[1]);
  }
  return {static_cast<const std::byte*>(at), at == nullptr ? 0 : bytes};
}

void answer_arguments(Call& call, const CUDA_KERNEL_NODE_PARAMS& params, std::uint64_t id) {
  if (params.kernelParams == nullptr && params.extra != nullptr) {
    auto buffer = buffer_of(params.extra);
    auto bytes = std::min(buffer.size(), limits::kKernelParamBytesMax);
    call.out.put(hand::LaunchParams{hand::ParamForm::kBuffer, static_cast<std::uint32_t>(bytes)});
    return call.out.bytes(buffer.data(), bytes);
  }
  auto* function = params.func != nullptr ? params.func : reinterpret_cast<CUfunction>(params.kern);
  auto layout = layout_of(call, id, function);
  const bool known = layout != nullptr && layout->known && params.kernelParams != nullptr;
  call.out.put(hand::LaunchParams{hand::ParamForm::kBySizes, known ? layout->total_bytes : 0});
  if (!known) return;
  for (std::size_t i = 0; i < layout->bytes.size(); ++i) {
    call.out.bytes(params.kernelParams[i], layout->bytes[i]);
  }
}

Verdict get_kernel(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto node_id = call.in.get<std::uint64_t>();
  auto node = load_id<CUgraphNode>(load, node_id);
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (!call.driver.cuGraphKernelNodeGetParams_v2) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_KERNEL_NODE_PARAMS params{};
  CUresult got = call.driver.cuGraphKernelNodeGetParams_v2(node, &params);
  call.status(got);
  if (got != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  const auto function = reinterpret_cast<std::uint64_t>(answer.name(params.func));
  const auto kernel = reinterpret_cast<std::uint64_t>(answer.name(params.kern));
  hand::KernelNode told{.function = function,
                        .kernel = kernel,
                        .context = reinterpret_cast<std::uint64_t>(answer.name(params.ctx)),
                        .grid = {params.gridDimX, params.gridDimY, params.gridDimZ},
                        .block = {params.blockDimX, params.blockDimY, params.blockDimZ},
                        .shared_bytes = params.sharedMemBytes,
                        .zero = 0};
  call.out.put(told);
  call.out.put(call.handles.graph_of(node_id));
  answer_arguments(call, params, function != 0 ? function : kernel);
  return finish(call, answer);
}

// --- memory

Verdict add_allocation(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  Place place;
  if (!load_place(load, place)) return Verdict::kMalformed;
  CUDA_MEM_ALLOC_NODE_PARAMS params{};
  api::Deep<CUmemPoolProps>::load(load, params.poolProps);
  params.bytesize = call.in.get<std::uint64_t>();
  params.accessDescCount = call.in.get<std::uint32_t>();
  if (call.in.failed() || params.accessDescCount > limits::kArrayItemsMax) {
    return Verdict::kMalformed;
  }
  auto* access = call.scratch.array<CUmemAccessDesc>(params.accessDescCount + 1);
  if (access == nullptr) return Verdict::kMalformed;
  for (std::size_t i = 0; i < params.accessDescCount; ++i) {
    access[i] = call.in.get<CUmemAccessDesc>();
  }
  params.accessDescs = params.accessDescCount > 0 ? access : nullptr;
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (!call.driver.cuGraphAddMemAllocNode) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUgraphNode node = nullptr;
  CUresult added =
      call.driver.cuGraphAddMemAllocNode(&node, place.graph, place.after, place.count, &params);
  call.status(added);
  if (added != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  api::answer_item(answer, node, place.graph_id);
  call.out.put(static_cast<std::uint64_t>(params.dptr));
  return finish(call, answer);
}

Verdict get_mem_ops(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto node_id = call.in.get<std::uint64_t>();
  auto node = load_id<CUgraphNode>(load, node_id);
  if (!call.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  if (!call.driver.cuGraphBatchMemOpNodeGetParams) return call.status(CUDA_ERROR_NOT_SUPPORTED);
  CUDA_BATCH_MEM_OP_NODE_PARAMS params{};
  CUresult got = call.driver.cuGraphBatchMemOpNodeGetParams(node, &params);
  if (got == CUDA_SUCCESS && params.count > limits::kArrayItemsMax / 8) got = CUDA_ERROR_UNKNOWN;
  call.status(got);
  if (got != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  api::answer_item(answer, params.ctx);
  call.out.put(call.handles.graph_of(node_id));
  call.out.put(params.count);
  call.out.put(params.flags);
  for (unsigned i = 0; i < params.count; ++i) call.out.put(params.paramArray[i]);
  return finish(call, answer);
}

// --- conditional nodes

CUresult add_any(const Driver& driver, const Place& place, CUgraphNode* node,
                 CUgraphNodeParams* params) {
  if (driver.cuGraphAddNode_v2 != nullptr) {
    return driver.cuGraphAddNode_v2(node, place.graph, place.after, nullptr, place.count, params);
  }
  if (driver.cuGraphAddNode == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  return driver.cuGraphAddNode(node, place.graph, place.after, place.count, params);
}

Verdict add_conditional(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  Place place;
  if (!load_place(load, place)) return Verdict::kMalformed;
  auto head = call.in.get<hand::ConditionalNode>();
  auto context = load_id<CUcontext>(load, head.context);
  if (!call.in.done() || head.size > limits::kGraphBodiesMax) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  CUgraphNodeParams params{};
  params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
  params.conditional.handle = head.handle;
  params.conditional.type = static_cast<CUgraphConditionalNodeType>(head.type);
  params.conditional.size = head.size;
  params.conditional.ctx = context;
  CUgraphNode node = nullptr;
  CUresult added = add_any(call.driver, place, &node, &params);
  if (added == CUDA_SUCCESS && params.conditional.phGraph_out == nullptr) {
    added = CUDA_ERROR_UNKNOWN;
  }
  call.status(added);
  if (added != CUDA_SUCCESS) return Verdict::kAnswered;
  api::Answer answer(call.out, call.handles);
  const auto node_id = reinterpret_cast<std::uint64_t>(answer.name(node, place.graph_id));
  call.out.put(node_id);
  for (std::uint32_t i = 0; i < head.size; ++i) {
    api::answer_item(answer, params.conditional.phGraph_out[i], node_id);
  }
  return finish(call, answer);
}

// --- instantiated graphs

Verdict instantiate(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto wanted = call.in.get<hand::Instantiate>();
  auto graph = load_id<CUgraph>(load, wanted.graph);
  auto stream = load_id<CUstream>(load, wanted.upload_stream);
  if (!call.in.done()) return Verdict::kMalformed;
  CUDA_GRAPH_INSTANTIATE_PARAMS params{};
  params.flags = wanted.flags;
  params.hUploadStream = stream;
  params.result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
  CUgraphExec exec = nullptr;
  CUresult made = load.refused;
  if (made == CUDA_SUCCESS) {
    made = call.driver.cuGraphInstantiateWithParams == nullptr
               ? CUDA_ERROR_NOT_SUPPORTED
               : call.driver.cuGraphInstantiateWithParams(&exec, graph, &params);
  }
  if (made != CUDA_SUCCESS) exec = nullptr;
  call.status(made);
  api::Answer answer(call.out, call.handles);
  api::answer_item(answer, exec);
  api::answer_item(answer, params.hErrNode_out, wanted.graph);
  call.out.put(static_cast<std::uint32_t>(params.result_out));
  call.out.put(std::uint32_t{0});
  if (answer.full && exec != nullptr && call.driver.cuGraphExecDestroy != nullptr) {
    (void)call.driver.cuGraphExecDestroy(exec);
  }
  return finish(call, answer);
}

Verdict update(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto exec = api::load_item<CUgraphExec>(load);
  auto graph_id = call.in.get<std::uint64_t>();
  auto graph = load_id<CUgraph>(load, graph_id);
  if (!call.in.done()) return Verdict::kMalformed;
  CUgraphExecUpdateResultInfo info{};
  info.result = CU_GRAPH_EXEC_UPDATE_ERROR;
  CUresult updated = load.refused;
  if (updated == CUDA_SUCCESS) {
    updated = call.driver.cuGraphExecUpdate_v2 == nullptr
                  ? CUDA_ERROR_NOT_SUPPORTED
                  : call.driver.cuGraphExecUpdate_v2(exec, graph, &info);
  }
  call.status(updated);
  api::Answer answer(call.out, call.handles);
  call.out.put(static_cast<std::uint32_t>(info.result));
  call.out.put(std::uint32_t{0});
  api::answer_item(answer, info.errorNode, graph_id);
  api::answer_item(answer, info.errorFromNode, graph_id);
  return Verdict::kAnswered;
}

}  // namespace

std::span<const HandRow> hand_graph_rows() {
  static const HandRow rows[] = {
      {row::cuGraphAddKernelNode_v2::info(), add_kernel},
      {row::cuGraphKernelNodeSetParams_v2::info(), set_kernel},
      {row::cuGraphExecKernelNodeSetParams_v2::info(), set_kernel},
      {row::cuGraphKernelNodeGetParams_v2::info(), get_kernel},
      {row::cuGraphAddMemAllocNode::info(), add_allocation},
      {row::cuGraphBatchMemOpNodeGetParams::info(), get_mem_ops},
      {row::cuGraphAddNode_v2::info(), add_conditional},
      {row::cuGraphInstantiateWithParams::info(), instantiate},
      {row::cuGraphExecUpdate_v2::info(), update},
  };
  return rows;
}

}  // namespace farcall::server
