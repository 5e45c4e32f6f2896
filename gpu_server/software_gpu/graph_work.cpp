#include "gpu_server/software_gpu/graph_work.h"

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/exec/graph_condition.h"
#include "transport/base/clock.h"
#include "transport/base/limits.h"

namespace farcall::softgpu {
namespace {

std::shared_ptr<NodeParams> params_of(CUgraphNodeType type) {
  auto params = std::make_shared<NodeParams>();
  params->told.type = type;
  return params;
}

// A launch may name a kernel; a node names both.
CUfunction function_handle(const LaunchPlan& plan) {
  return reinterpret_cast<CUfunction>(plan.function.get());
}

using Attributes = std::map<int, CUlaunchAttributeValue>;

// What a launch asks for, as attributes of a node, and back. Without one a cluster is one block.
Attributes attributes_of(const LaunchPlan& plan) {
  Attributes attributes;
  if (plan.cooperative) attributes[CU_LAUNCH_ATTRIBUTE_COOPERATIVE].cooperative = 1;
  if (plan.cluster != std::array<unsigned, 3>{1, 1, 1}) {
    auto& blocks = attributes[CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION].clusterDim;
    blocks.x = plan.cluster[0];
    blocks.y = plan.cluster[1];
    blocks.z = plan.cluster[2];
  }
  return attributes;
}
void ask_for(const Attributes& attributes, LaunchPlan& plan) {
  auto cooperative = attributes.find(CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
  plan.cooperative = cooperative != attributes.end() && cooperative->second.cooperative != 0;
  plan.cluster = {1, 1, 1};
  auto cluster = attributes.find(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
  if (cluster == attributes.end()) return;
  const auto& blocks = cluster->second.clusterDim;
  const bool is_unset = blocks.x == 0 && blocks.y == 0 && blocks.z == 0;
  if (!is_unset) plan.cluster = {blocks.x, blocks.y, blocks.z};
}

}  // namespace

Work captured_work(LaunchPlan plan) {
  auto params = params_of(CU_GRAPH_NODE_TYPE_KERNEL);
  auto held = std::make_shared<const LaunchPlan>(std::move(plan));
  for (const KernelParam& param : held->function->kernel->params()) {
    params->arguments.push_back(const_cast<std::byte*>(held->params.data()) + param.offset);
  }
  const bool is_kernel = driver().kernels.find(held->handle) != nullptr;
  auto& told = params->told.kernel;
  told.func = is_kernel ? function_handle(*held) : held->handle;
  told.kern = is_kernel ? reinterpret_cast<CUkernel>(held->handle) : nullptr;
  told.ctx = held->function->module->context().handle();
  told.gridDimX = held->grid[0];
  told.gridDimY = held->grid[1];
  told.gridDimZ = held->grid[2];
  told.blockDimX = held->block[0];
  told.blockDimY = held->block[1];
  told.blockDimZ = held->block[2];
  told.sharedMemBytes = held->dynamic_shared_bytes;
  told.kernelParams = params->arguments.data();
  params->attributes = attributes_of(*held);
  Work work = launch_work(*held);
  params->launch = std::move(held);
  work.params = std::move(params);
  return work;
}

CUresult with_attributes(const Work& kernel, std::map<int, CUlaunchAttributeValue> attributes,
                         Work* work) {
  LaunchPlan plan = *kernel.params->launch;
  ask_for(attributes, plan);
  if (CUresult failed = check_launch(plan)) return failed;
  const auto before = kernel.params->told.kernel;
  *work = captured_work(std::move(plan));
  auto params = std::make_shared<NodeParams>(*work->params);
  params->attributes = std::move(attributes);
  params->told.kernel.func = before.func;
  params->told.kernel.kern = before.kern;
  params->told.kernel.kernelParams = params->arguments.data();
  work->params = std::move(params);
  return CUDA_SUCCESS;
}

Work captured_work(const CopyPlan& plan, Work work) {
  auto params = params_of(CU_GRAPH_NODE_TYPE_MEMCPY);
  CUDA_MEMCPY3D& told = params->told.memcpy.copyParams;
  const bool from_host = plan.from.place == CopyEnd::Place::kHost;
  const bool to_host = plan.to.place == CopyEnd::Place::kHost;
  told.srcMemoryType = from_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
  told.dstMemoryType = to_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
  if (from_host) told.srcHost = reinterpret_cast<const void*>(plan.from.address);
  if (!from_host) told.srcDevice = plan.from.address;
  if (to_host) told.dstHost = reinterpret_cast<void*>(plan.to.address);
  if (!to_host) told.dstDevice = plan.to.address;
  told.srcPitch = plan.from.pitch != 0 ? plan.from.pitch : plan.width;
  told.dstPitch = plan.to.pitch != 0 ? plan.to.pitch : plan.width;
  told.srcHeight = plan.from.slice / std::max<std::size_t>(told.srcPitch, 1);
  told.dstHeight = plan.to.slice / std::max<std::size_t>(told.dstPitch, 1);
  told.WidthInBytes = plan.width;
  told.Height = plan.height;
  told.Depth = plan.depth;
  work.params = std::move(params);
  return work;
}

Work captured_work(const FillPlan& plan, Work work) {
  auto params = params_of(CU_GRAPH_NODE_TYPE_MEMSET);
  params->told.memset = {
      plan.address, plan.pitch,  plan.value, static_cast<unsigned>(plan.element_bytes),
      plan.width,   plan.height, nullptr};
  work.params = std::move(params);
  return work;
}

CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS& params, Work* work) {
  Context* context = nullptr;
  const CUcontext wanted = params.func == nullptr ? params.ctx : nullptr;
  if (CUresult failed = find_context(wanted, &context)) return failed;
  context = &context->home();  // a view has no code of its own
  const CUfunction handle =
      params.func != nullptr ? params.func : reinterpret_cast<CUfunction>(params.kern);
  if (handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LaunchPlan plan;
  plan.handle = handle;
  if (CUresult failed = find_function(handle, *context, &plan.function)) return failed;
  plan.grid = {params.gridDimX, params.gridDimY, params.gridDimZ};
  plan.block = {params.blockDimX, params.blockDimY, params.blockDimZ};
  plan.dynamic_shared_bytes = params.sharedMemBytes;
  if (CUresult failed = gather_params(plan, params.kernelParams, params.extra)) return failed;
  if (CUresult failed = check_launch(plan)) return failed;
  *work = captured_work(std::move(plan));
  auto told = std::make_shared<NodeParams>(*work->params);
  told->told.kernel.func = params.func;
  told->told.kernel.kern = params.kern;
  told->told.kernel.kernelParams = told->arguments.data();
  work->params = std::move(told);
  return CUDA_SUCCESS;
}

CUresult memcpy_work(const CUDA_MEMCPY3D& params, Work* work) {
  CopyPlan plan;
  if (CUresult failed = plan_from(params, &plan)) return failed;
  if (CUresult failed = copy_work(plan, work)) return failed;
  auto told = params_of(CU_GRAPH_NODE_TYPE_MEMCPY);
  told->told.memcpy.copyParams = params;
  work->params = std::move(told);
  return CUDA_SUCCESS;
}

CUresult memset_work(const CUDA_MEMSET_NODE_PARAMS& params, Work* work) {
  if (params.elementSize != 1 && params.elementSize != 2 && params.elementSize != 4) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const FillPlan plan{params.dst,         params.pitch, params.value,
                      params.elementSize, params.width, params.height};
  if (CUresult failed = fill_work(plan, work)) return failed;
  *work = captured_work(plan, std::move(*work));
  return CUDA_SUCCESS;
}

CUresult host_work(const CUDA_HOST_NODE_PARAMS& params, Work* work) {
  if (params.fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *work = {[params] {
    const InHostFunction inside;
    params.fn(params.userData);
  }};
  auto told = params_of(CU_GRAPH_NODE_TYPE_HOST);
  told->told.host = {params.fn, params.userData};
  work->params = std::move(told);
  return CUDA_SUCCESS;
}

CUresult record_work(CUevent handle, Work* work) {
  auto event = driver().events.find(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  *work = {[event] {
    auto now = std::make_shared<Completion>();
    now->finish(system_clock().now_ns());
    event->record({std::move(now)});
  }};
  auto told = params_of(CU_GRAPH_NODE_TYPE_EVENT_RECORD);
  told->told.eventRecord.event = handle;
  work->params = std::move(told);
  return CUDA_SUCCESS;
}

CUresult wait_work(CUevent handle, Work* work) {
  auto event = driver().events.find(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  *work = {[event] {
    for (const CompletionPtr& point : event->points()) point->wait();
  }};
  auto told = params_of(CU_GRAPH_NODE_TYPE_WAIT_EVENT);
  told->told.eventWait.event = handle;
  work->params = std::move(told);
  return CUDA_SUCCESS;
}

namespace {

CUresult work_of_child(CUgraph handle, bool moves, Work* work) {
  auto child = driver().graphs.find(handle);
  if (!child) return CUDA_ERROR_INVALID_HANDLE;
  if (child->in_order().empty() && !child->nodes.empty()) return CUDA_ERROR_INVALID_VALUE;
  auto params = params_of(CU_GRAPH_NODE_TYPE_GRAPH);
  params->inner = std::make_shared<InnerGraphs>(std::vector{moves ? child : child->clone()});
  params->inner->owns_handles = !moves;
  params->told.graph.graph = params->inner->handles[0];
  *work = {};
  work->params = std::move(params);
  return CUDA_SUCCESS;
}

}  // namespace

CUresult child_work(CUgraph child, Work* work) { return work_of_child(child, false, work); }

CUresult moved_child_work(CUgraph child, Work* work) { return work_of_child(child, true, work); }

void take_child(const Work& work) { work.params->inner->owns_handles = true; }

CUresult allocation_work(CUDA_MEM_ALLOC_NODE_PARAMS& wanted, Work* work) {
  if (CUresult failed = require_driver()) return failed;
  const CUmemPoolProps& props = wanted.poolProps;
  if (wanted.bytesize == 0 || props.allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
      props.location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (props.handleTypes != CU_MEM_HANDLE_TYPE_NONE) return CUDA_ERROR_NOT_SUPPORTED;
  Device* device = driver().device(props.location.id);
  if (device == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  if (&context->device() != device) context = &device->primary();
  auto params = params_of(CU_GRAPH_NODE_TYPE_MEM_ALLOC);
  CUresult failed = CUDA_SUCCESS;
  params->instances = std::make_shared<const int>();
  params->memory = GraphMemory::make(*context, wanted.bytesize, &failed);
  if (failed != CUDA_SUCCESS) return failed;
  wanted.dptr = params->memory->address();
  if (wanted.accessDescs != nullptr) {
    params->access.assign(wanted.accessDescs, wanted.accessDescs + wanted.accessDescCount);
  }
  params->told.alloc = {props, params->access.data(), params->access.size(), wanted.bytesize,
                        wanted.dptr};
  *work = {};
  work->params = std::move(params);
  return CUDA_SUCCESS;
}

CUresult free_work(CUdeviceptr address, Work* work) {
  if (CUresult failed = require_driver()) return failed;
  if (!GraphMemory::is_known(address)) return CUDA_ERROR_INVALID_VALUE;
  auto params = params_of(CU_GRAPH_NODE_TYPE_MEM_FREE);
  params->told.free.dptr = address;
  params->instances = std::make_shared<const int>();
  *work = {};
  work->params = std::move(params);
  return CUDA_SUCCESS;
}

CUresult conditional_work(CUDA_CONDITIONAL_NODE_PARAMS& wanted, Work* work) {
  if (CUresult failed = require_driver()) return failed;
  const bool is_if = wanted.type == CU_GRAPH_COND_TYPE_IF;
  const bool is_switch = wanted.type == CU_GRAPH_COND_TYPE_SWITCH;
  if (!is_if && !is_switch && wanted.type != CU_GRAPH_COND_TYPE_WHILE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::size_t most = is_switch ? limits::kGraphBodiesMax : is_if ? 2 : 1;
  if (wanted.size == 0 || wanted.size > most || !is_graph_condition(wanted.handle)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::vector<std::shared_ptr<Graph>> bodies;
  for (unsigned i = 0; i < wanted.size; ++i) bodies.push_back(std::make_shared<Graph>());
  auto params = params_of(CU_GRAPH_NODE_TYPE_CONDITIONAL);
  params->inner = std::make_shared<InnerGraphs>(std::move(bodies));
  wanted.phGraph_out = params->inner->handles.data();
  params->told.conditional = wanted;
  *work = {};
  work->params = std::move(params);
  return CUDA_SUCCESS;
}

bool is_moving(const CUgraphNodeParams& params) {
  return params.type == CU_GRAPH_NODE_TYPE_GRAPH &&
         params.graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
}

CUresult any_work(CUgraphNodeParams& params, Work* work) {
  switch (params.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const auto& from = params.kernel;
      const CUDA_KERNEL_NODE_PARAMS kernel{from.func,      from.gridDimX,       from.gridDimY,
                                           from.gridDimZ,  from.blockDimX,      from.blockDimY,
                                           from.blockDimZ, from.sharedMemBytes, from.kernelParams,
                                           from.extra,     from.kern,           from.ctx};
      return kernel_work(kernel, work);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY: return memcpy_work(params.memcpy.copyParams, work);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto& from = params.memset;
      return memset_work(
          {from.dst, from.pitch, from.value, from.elementSize, from.width, from.height}, work);
    }
    case CU_GRAPH_NODE_TYPE_HOST: return host_work({params.host.fn, params.host.userData}, work);
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return is_moving(params) ? moved_child_work(params.graph.graph, work)
                               : child_work(params.graph.graph, work);
    case CU_GRAPH_NODE_TYPE_EMPTY: return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT: return wait_work(params.eventWait.event, work);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return record_work(params.eventRecord.event, work);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC: {
      auto& from = params.alloc;
      CUDA_MEM_ALLOC_NODE_PARAMS wanted{from.poolProps, from.accessDescs, from.accessDescCount,
                                        from.bytesize, 0};
      CUresult made = allocation_work(wanted, work);
      from.dptr = wanted.dptr;
      return made;
    }
    case CU_GRAPH_NODE_TYPE_MEM_FREE: return free_work(params.free.dptr, work);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: {
      const auto& from = params.memOp;
      return mem_op_work({from.ctx, from.count, from.paramArray, from.flags}, work);
    }
    case CU_GRAPH_NODE_TYPE_CONDITIONAL: return conditional_work(params.conditional, work);
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

}  // namespace farcall::softgpu
