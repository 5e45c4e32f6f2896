#include "client_shim/launch.h"

#include <climits>

#include "client_shim/entry.h"
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

hand::Launch head_of(const LaunchRequest& request) {
  const CUlaunchConfig& config = request.config;
  hand::Launch head{};
  head.function = id_of(request.function);
  head.grid[0] = config.gridDimX;
  head.grid[1] = config.gridDimY;
  head.grid[2] = config.gridDimZ;
  head.block[0] = config.blockDimX;
  head.block[1] = config.blockDimY;
  head.block[2] = config.blockDimZ;
  head.shared_bytes = config.sharedMemBytes;
  head.kind = request.kind;
  head.stream = id_of(config.hStream);
  head.attribute_count = config.numAttrs;
  return head;
}

bool is_cooperative(const LaunchRequest& request) {
  if (request.kind == hand::LaunchKind::kCooperative) return true;
  for (unsigned i = 0; i < request.config.numAttrs; ++i) {
    if (request.config.attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) return true;
  }
  return false;
}

CUresult check_attributes(const CUlaunchConfig& config) {
  if (config.numAttrs == 0) return CUDA_SUCCESS;
  if (config.attrs == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (config.numAttrs > limits::kLaunchAttributesMax) return CUDA_ERROR_NOT_SUPPORTED;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    CUresult bad = api::check_attribute(config.attrs[i]);
    if (bad != CUDA_SUCCESS) return bad;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult check_launch(const Device& device, const FunctionFacts& kernel,
                      const CUlaunchConfig& config) {
  const unsigned grid[3] = {config.gridDimX, config.gridDimY, config.gridDimZ};
  const unsigned block[3] = {config.blockDimX, config.blockDimY, config.blockDimZ};
  CUresult bad_shape = kernel.is_kernel ? kInvalidConfiguration : CUDA_ERROR_INVALID_VALUE;
  std::uint64_t threads = 1;
  for (int axis = 0; axis < 3; ++axis) {
    // The attributes of the three axes follow one another.
    int grid_max = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + axis, INT_MAX);
    int block_max = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + axis, INT_MAX);
    if (grid[axis] == 0 || grid[axis] > static_cast<unsigned>(grid_max)) {
      return bad_shape;
    }
    if (block[axis] == 0 || block[axis] > static_cast<unsigned>(block_max)) return bad_shape;
    threads *= block[axis];
  }
  int threads_max = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, INT_MAX);
  if (threads > static_cast<std::uint64_t>(threads_max)) return bad_shape;
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
  if (request.function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  int ordinal = 0;
  if (CUresult device = client.current_device(&ordinal); device != CUDA_SUCCESS) return device;
  FunctionRefs kernel = client.functions().find(id_of(request.function));
  if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  for (CUresult checked :
       {check_launch(client.snapshot().devices[static_cast<std::size_t>(ordinal)], *kernel,
                     request.config),
        check_attributes(request.config), check_params(*kernel, request)}) {
    if (checked != CUDA_SUCCESS) return checked;
  }
  ExtraBuffer buffer;
  if (request.extra != nullptr) {
    CUresult read = read_extra(request.extra, &buffer);
    if (read != CUDA_SUCCESS) return read;
  }
  auto encode = [&](wire::Writer& out) {
    out.put(head_of(request));
    for (unsigned i = 0; i < request.config.numAttrs; ++i) {
      api::put_attribute(out, request.config.attrs[i]);
    }
    if (request.extra != nullptr) {
      out.put(
          hand::LaunchParams{hand::ParamForm::kBuffer, static_cast<std::uint32_t>(buffer.bytes)});
      out.bytes(buffer.at, buffer.bytes);
      return;
    }
    out.put(hand::LaunchParams{hand::ParamForm::kBySizes,
                               static_cast<std::uint32_t>(kernel->total_param_bytes)});
    for (std::size_t i = 0; i < kernel->param_bytes.size(); ++i) {
      out.bytes(request.params[i], kernel->param_bytes[i]);
    }
  };
  const api::RowInfo& row = api::row::cuLaunchKernel::info();
  // Whether all blocks of a cooperative launch fit at once only the driver can tell.
  return is_cooperative(request) ? client.ask_status(row, encode) : client.post(row, encode);
}

}  // namespace farcall::shim
