// Launches: one message for cuLaunchKernel, cuLaunchCooperativeKernel and cuLaunchKernelEx.
// Body: transport/api/hand.h.
#include <array>
#include <cstring>

#include "gpu_server/functions.h"
#include "gpu_server/launch_arguments.h"
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
  LaunchArguments arguments;
};

CUresult start(const Driver& driver, const Launch& launch) {
  const CUlaunchConfig& c = launch.config;
  switch (launch.kind) {
    case hand::LaunchKind::kPlain:
      if (driver.cuLaunchKernel == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
      return driver.cuLaunchKernel(launch.function, c.gridDimX, c.gridDimY, c.gridDimZ, c.blockDimX,
                                   c.blockDimY, c.blockDimZ, c.sharedMemBytes, c.hStream,
                                   launch.arguments.params, launch.arguments.extra);
    case hand::LaunchKind::kCooperative:
      if (driver.cuLaunchCooperativeKernel == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
      return driver.cuLaunchCooperativeKernel(launch.function, c.gridDimX, c.gridDimY, c.gridDimZ,
                                              c.blockDimX, c.blockDimY, c.blockDimZ,
                                              c.sharedMemBytes, c.hStream, launch.arguments.params);
    case hand::LaunchKind::kEx:
      if (driver.cuLaunchKernelEx == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
      return driver.cuLaunchKernelEx(&c, launch.function, launch.arguments.params,
                                     launch.arguments.extra);
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
  if (launch.function == nullptr) load.refuse(CUDA_ERROR_INVALID_HANDLE);
  launch.layout = layout_of(call, head.function, launch.function);
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
  if (!load_arguments(load, launch.layout, launch.arguments) || !load.in.done())
    return Verdict::kMalformed;
  if (load.refused != CUDA_SUCCESS) return call.status(load.refused);
  return call.status(start(call.driver, launch));
}

}  // namespace

std::span<const HandRow> hand_launch_rows() {
  static const HandRow rows[] = {{row::cuLaunchKernel::info(), launch_kernel}};
  return rows;
}

}  // namespace farcall::server
