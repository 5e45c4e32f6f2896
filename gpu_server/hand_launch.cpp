// Launches: one message for cuLaunchKernel, cuLaunchCooperativeKernel and cuLaunchKernelEx.
// Body: transport/api/hand.h.
#include <array>
#include <cstring>

#include "gpu_server/functions.h"
#include "gpu_server/load_id.h"
#include "gpu_server/rows.h"
#include "transport/api/deep.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

struct Launch {
  CUfunction function = nullptr;
  Functions::Layout layout;
  CUlaunchConfig config{};
  hand::LaunchKind kind = hand::LaunchKind::kPlain;
  void** params = nullptr;  // one pointer per parameter, or
  void** extra = nullptr;   // the whole in the kernel's own layout
};

// The parameters, to where the driver wants them.
// False: malformed.
bool load_params(api::Load& load, Launch& launch) {
  auto [form, count] = load.in.get<hand::LaunchParams>();
  auto bytes = load.in.bytes(count);
  if (load.in.failed() || count > limits::kKernelParamBytesMax) return false;
  // A copy, aligned: kernels' parameters are read in place by drivers.
  auto* copy = static_cast<std::byte*>(load.scratch.take(count));
  if (copy == nullptr) return false;
  if (!bytes.empty()) std::memcpy(copy, bytes.data(), bytes.size());
  if (form == hand::ParamForm::kBuffer) {
    auto* size = load.scratch.array<std::size_t>(1);
    launch.extra = load.scratch.array<void*>(5);
    if (size == nullptr || launch.extra == nullptr) return false;
    *size = count;
    void* list[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, copy, CU_LAUNCH_PARAM_BUFFER_SIZE, size,
                    CU_LAUNCH_PARAM_END};
    std::memcpy(launch.extra, list, sizeof list);
    return true;
  }
  if (form != hand::ParamForm::kBySizes) return false;
  if (launch.layout == nullptr) return true;  // refused already
  if (!launch.layout->known) {
    load.refuse(CUDA_ERROR_NOT_SUPPORTED);
    return true;
  }
  if (launch.layout->total_bytes != count) {
    load.refuse(CUDA_ERROR_INVALID_VALUE);
    return true;
  }
  launch.params = load.scratch.array<void*>(launch.layout->bytes.size() + 1);
  if (launch.params == nullptr) return false;
  for (std::size_t i = 0; i < launch.layout->bytes.size(); ++i) {
    launch.params[i] = copy;
    copy += launch.layout->bytes[i];
  }
  return true;
}

CUresult start(const Driver& driver, const Launch& launch) {
  const CUlaunchConfig& c = launch.config;
  switch (launch.kind) {
    case hand::LaunchKind::kPlain:
      if (driver.cuLaunchKernel == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
      return driver.cuLaunchKernel(launch.function, c.gridDimX, c.gridDimY, c.gridDimZ, c.blockDimX,
                                   c.blockDimY, c.blockDimZ, c.sharedMemBytes, c.hStream,
                                   launch.params, launch.extra);
    case hand::LaunchKind::kCooperative:
      if (driver.cuLaunchCooperativeKernel == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
      return driver.cuLaunchCooperativeKernel(launch.function, c.gridDimX, c.gridDimY, c.gridDimZ,
                                              c.blockDimX, c.blockDimY, c.blockDimZ,
                                              c.sharedMemBytes, c.hStream, launch.params);
    case hand::LaunchKind::kEx:
      if (driver.cuLaunchKernelEx == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
      return driver.cuLaunchKernelEx(&c, launch.function, launch.params, launch.extra);
  }
  return CUDA_ERROR_INVALID_VALUE;
}

Verdict launch_kernel(Call& call) {
  api::Load load{call.in, call.handles, call.scratch};
  auto head = call.in.get<hand::Launch>();
  if (call.in.failed() || head.attribute_count > limits::kLaunchAttributesMax) {
    return Verdict::kMalformed;
  }
  Launch launch;
  launch.kind = head.kind;
  launch.function = load_id<CUfunction>(load, head.function);
  if (launch.function == nullptr) {
    load.refuse(CUDA_ERROR_INVALID_HANDLE);
  } else {
    bool is_kernel = call.handles.find(Kind::kKernel, head.function) != nullptr;
    launch.layout = call.functions.layout(call.driver, head.function, launch.function, is_kernel);
  }
  launch.config = {.gridDimX = head.grid[0],
                   .gridDimY = head.grid[1],
                   .gridDimZ = head.grid[2],
                   .blockDimX = head.block[0],
                   .blockDimY = head.block[1],
                   .blockDimZ = head.block[2],
                   .sharedMemBytes = head.shared_bytes,
                   .hStream = load_id<CUstream>(load, head.stream),
                   .attrs = nullptr,
                   .numAttrs = head.attribute_count};
  if (head.attribute_count > 0) {
    launch.config.attrs = call.scratch.array<CUlaunchAttribute>(head.attribute_count);
    if (launch.config.attrs == nullptr) return Verdict::kMalformed;
  }
  for (unsigned i = 0; i < head.attribute_count; ++i) {
    api::load_attribute(load, launch.config.attrs[i]);
  }
  if (!load_params(load, launch) || !load.in.done()) return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  return call.status(start(call.driver, launch));
}

}  // namespace

std::span<const HandRow> hand_launch_rows() {
  static const HandRow rows[] = {{row::cuLaunchKernel::info(), launch_kernel}};
  return rows;
}

}  // namespace farcall::server
