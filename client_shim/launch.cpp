#include "client_shim/launch.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "client_shim/entry.h"
#include "client_shim/reach.h"
#include "client_shim/staged.h"
#include "transport/api/deep.h"
#include "transport/api/rows.h"

namespace farcall::shim {
namespace {

namespace hand = api::hand;

// cudart passes a driver's answer on by number, and programs know a grid or block that no device
// accepts as cudaErrorInvalidConfiguration (9), while users of the driver API know it as
// CUDA_ERROR_INVALID_VALUE. Only cudart launches by CUkernel: that tells them apart.
constexpr auto kInvalidConfiguration = static_cast<CUresult>(9);

// The older form of passing parameters: one buffer in the kernel's own layout.
struct ExtraBuffer {
  const void* at = nullptr;
  std::size_t bytes = 0;
};

CUresult read_extra(void** extra, ExtraBuffer* buffer) {
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      buffer->at = extra[1];
    } else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1] != nullptr) {
      buffer->bytes = *static_cast<const std::size_t*>(extra[1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  bool is_bad =
      buffer->bytes > limits::kKernelParamBytesMax || (buffer->bytes != 0 && buffer->at == nullptr);
  return is_bad ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult check_params(const FunctionFacts& kernel, const LaunchRequest& request) {
  if (request.params != nullptr && request.extra != nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (request.extra != nullptr) return CUDA_SUCCESS;
  // Without sizes there is nothing to gather by: the server's driver is older than CUDA 12.4.
  if (!kernel.params_known) return CUDA_ERROR_NOT_SUPPORTED;
  if (kernel.param_bytes.empty()) return CUDA_SUCCESS;
  if (request.params == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < kernel.param_bytes.size(); ++i) {
    if (request.params[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

bool is_cooperative(const LaunchRequest& request) {
  if (request.kind == hand::LaunchKind::kCooperative) return true;
  for (unsigned i = 0; i < request.config.numAttrs; ++i) {
    if (request.config.attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) return true;
  }
  return false;
}

// What the grid says of its clusters; whether the device has room for one, only its driver can
// tell.
bool are_clusters_whole(const CUlaunchConfig& config, const CUlaunchAttribute& attribute) {
  if (attribute.id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) return true;
  const auto& size = attribute.value.clusterDim;
  return size.x != 0 && size.y != 0 && size.z != 0 && config.gridDimX % size.x == 0 &&
         config.gridDimY % size.y == 0 && config.gridDimZ % size.z == 0;
}

CUresult check_attributes(const CUlaunchConfig& config) {
  if (config.numAttrs == 0) return CUDA_SUCCESS;
  if (config.attrs == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (config.numAttrs > limits::kLaunchAttributesMax) return CUDA_ERROR_NOT_SUPPORTED;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    CUresult bad = api::check_attribute(config.attrs[i]);
    if (bad != CUDA_SUCCESS) return bad;
    if (!are_clusters_whole(config, config.attrs[i])) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  }
  return CUDA_SUCCESS;
}

// The plan of a kernel in the current context, as remembered or made now.
// Errors: CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE.
CUresult plan_of(Client& client, ThreadState& thread, CUfunction function, LaunchPlan** found) {
  // Read before what they stand for: a change in between makes a plan that does not hold.
  const LaunchVersions now{client.functions().version(), client.contexts().version()};
  if (thread.launch_plans == nullptr) thread.launch_plans = std::make_unique<LaunchPlans>();
  LaunchPlan& plan = thread.launch_plans->slot(function);
  *found = &plan;
  if (plan.holds(function, thread.current(), now)) return CUDA_SUCCESS;
  int ordinal = 0;
  if (CUresult device = client.current_device(&ordinal); device != CUDA_SUCCESS) return device;
  FunctionRefs kernel = client.functions().find(id_of(function));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const Device& device = client.snapshot().devices[static_cast<std::size_t>(ordinal)];
  plan = {function, thread.current(), now, launch_limits(device), std::move(kernel)};
  return CUDA_SUCCESS;
}

CUresult reach(Client& client, const FunctionFacts& kernel, const LaunchRequest& request,
               const ExtraBuffer& buffer) {
  if (!may_reach(client)) return CUDA_SUCCESS;
  if (request.extra != nullptr) return reach_buffer(client, buffer.at, buffer.bytes);
  if (request.params == nullptr) return CUDA_SUCCESS;
  return reach_parameters(client, kernel, request.params);
}

void put_head(wire::Writer& out, const LaunchRequest& request) {
  const CUlaunchConfig& config = request.config;
  out.put(hand::Launch{.function = id_of(request.function),
                       .grid = {config.gridDimX, config.gridDimY, config.gridDimZ},
                       .block = {config.blockDimX, config.blockDimY, config.blockDimZ},
                       .shared_bytes = config.sharedMemBytes,
                       .kind = request.kind,
                       .stream = id_of(config.hStream),
                       .attribute_count = config.numAttrs,
                       .zero = 0});
  for (unsigned i = 0; i < config.numAttrs; ++i) api::put_attribute(out, config.attrs[i]);
}

void put_params(wire::Writer& out, const FunctionFacts& kernel, void** params) {
  out.put(hand::LaunchParams{hand::ParamForm::kBySizes,
                             static_cast<std::uint32_t>(kernel.total_param_bytes)});
  std::span<std::byte> room = out.room(kernel.total_param_bytes);
  if (room.empty()) return;
  std::byte* to = room.data();
  for (std::size_t i = 0; i < kernel.param_bytes.size(); ++i) {
    const std::size_t bytes = kernel.param_bytes[i];
    // Nearly every parameter is one of these two, and copying them needs no call.
    if (bytes == 8) {
      std::memcpy(to, params[i], 8);
    } else if (bytes == 4) {
      std::memcpy(to, params[i], 4);
    } else {
      std::memcpy(to, params[i], bytes);
    }
    to += bytes;
  }
}

CUresult send_launch(Client& client, ThreadState& thread, const LaunchRequest& request,
                     api::Encode encode) {
  const api::RowInfo& row = api::row::cuLaunchKernel::info();
  // Whether all blocks of a cooperative launch fit at once only the driver can tell.
  CUresult launched =
      is_cooperative(request) ? client.ask_status(row, encode) : client.post(thread, row, encode);
  if (launched == CUDA_SUCCESS) {
    client.origins().launched(id_of(request.function), thread.last_call);
  }
  return launched;
}

}  // namespace

LaunchLimits launch_limits(const Device& device) {
  auto limit = [&](int attribute) {
    return static_cast<unsigned>(std::max(0, device.attribute_or(attribute, INT_MAX)));
  };
  LaunchLimits limits{};
  for (int axis = 0; axis < 3; ++axis) {
    // The attributes of the three axes follow one another.
    const auto at = static_cast<std::size_t>(axis);
    limits.grid[at] = limit(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + axis);
    limits.block[at] = limit(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + axis);
  }
  limits.threads = limit(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  return limits;
}

CUresult check_launch(const LaunchLimits& limits, const FunctionFacts& kernel,
                      const CUlaunchConfig& config) {
  const unsigned grid[3] = {config.gridDimX, config.gridDimY, config.gridDimZ};
  const unsigned block[3] = {config.blockDimX, config.blockDimY, config.blockDimZ};
  CUresult bad_shape = kernel.is_runtimes ? kInvalidConfiguration : CUDA_ERROR_INVALID_VALUE;
  std::uint64_t threads = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    // Wraps at 0, which is no size.
    if (grid[axis] - 1 >= limits.grid[axis] || block[axis] - 1 >= limits.block[axis]) {
      return bad_shape;
    }
    threads *= block[axis];
  }
  if (threads > limits.threads) return bad_shape;
  if (kernel.max_threads > 0 && threads > static_cast<std::uint64_t>(kernel.max_threads)) {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  int shared_max = kernel.max_dynamic_shared_bytes;
  if (shared_max >= 0 && config.sharedMemBytes > static_cast<unsigned>(shared_max)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult launch(Client& client, const LaunchRequest& request) {
  ThreadState& thread = client.this_thread();
  if (thread.current() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (request.function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  LaunchPlan* plan = nullptr;
  CUresult ready = plan_of(client, thread, request.function, &plan);
  if (ready != CUDA_SUCCESS) return ready;
  // Good for this call: nobody but this thread changes its plans.
  const FunctionFacts& kernel = *plan->kernel;
  if (ready = check_launch(plan->limits, kernel, request.config); ready != CUDA_SUCCESS)
    return ready;
  if (ready = check_attributes(request.config); ready != CUDA_SUCCESS) return ready;
  if (ready = check_params(kernel, request); ready != CUDA_SUCCESS) return ready;
  ExtraBuffer buffer;
  if (request.extra != nullptr) {
    if (ready = read_extra(request.extra, &buffer); ready != CUDA_SUCCESS) return ready;
    // With its gaps it cannot be shorter than the parameters.
    if (kernel.params_known && buffer.bytes < kernel.total_param_bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  if (ready = reach(client, kernel, request, buffer); ready != CUDA_SUCCESS) return ready;
  auto encode = [&](wire::Writer& out) {
    put_head(out, request);
    if (request.extra == nullptr) return put_params(out, kernel, request.params);
    out.put(hand::LaunchParams{hand::ParamForm::kBuffer, static_cast<std::uint32_t>(buffer.bytes)});
    out.bytes(buffer.at, buffer.bytes);
  };
  if (client.mirrors().any()) {
    // Parameters may lie in what is about to be closed.
    Staged staged(encode);
    ready = client.mirrors().lend(request.config.hStream);
    return ready == CUDA_SUCCESS ? send_launch(client, thread, request, staged) : ready;
  }
  return send_launch(client, thread, request, encode);
}

CUresult NodeLaunch::prepare(Client& client, const LaunchRequest& request) {
  if (request.function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LaunchPlan* plan = nullptr;
  CUresult ready = plan_of(client, client.this_thread(), request.function, &plan);
  if (ready != CUDA_SUCCESS) return ready;
  if (ready = check_launch(plan->limits, *plan->kernel, request.config); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (ready = check_params(*plan->kernel, request); ready != CUDA_SUCCESS) return ready;
  kernel_ = plan->kernel;
  params_ = request.params;
  is_buffer_ = request.extra != nullptr;
  ExtraBuffer buffer;
  if (is_buffer_) ready = read_extra(request.extra, &buffer);
  buffer_ = buffer.at;
  buffer_bytes_ = buffer.bytes;
  return ready == CUDA_SUCCESS ? reach(client, *kernel_, request, buffer) : ready;
}

void NodeLaunch::put_arguments(wire::Writer& out) const {
  if (!is_buffer_) return put_params(out, *kernel_, params_);
  out.put(hand::LaunchParams{hand::ParamForm::kBuffer, static_cast<std::uint32_t>(buffer_bytes_)});
  out.bytes(buffer_, buffer_bytes_);
}

}  // namespace farcall::shim
