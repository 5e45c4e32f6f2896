// Launching kernels and host functions.
// Source: CUDA Driver API 13.0, Execution Control.
#include "gpu_server/software_gpu/launch.h"

#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_work.h"

namespace farcall::softgpu {
namespace {

// libcudart passes a driver's answer on by number, and programs know a grid or block that no device
// accepts as cudaErrorInvalidConfiguration (9), while users of the driver API know it as
// CUDA_ERROR_INVALID_VALUE, also where they launch by CUkernel. How libcudart loads its kernels
// tells them apart.
constexpr CUresult kInvalidConfiguration = static_cast<CUresult>(9);

struct Shape {
  std::array<unsigned, 3> grid;
  std::array<unsigned, 3> block;
  unsigned shared_bytes;
  bool cooperative;
  std::array<unsigned, 3> cluster{1, 1, 1};
};

CUresult launch_kernel(CUfunction f, const Shape& shape, CUstream handle, void** kernel_params,
                       void** extra) {
  Context* current = nullptr;
  if (CUresult failed = require_context(&current)) return failed;
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(handle, &stream)) return failed;
  LaunchPlan plan;
  plan.handle = f;
  Context& home = stream->context().home();
  if (CUresult failed = find_function(f, home, &plan.function)) return failed;
  if (&plan.function->module->context() != &home) return CUDA_ERROR_INVALID_HANDLE;
  plan.grid = shape.grid;
  plan.block = shape.block;
  plan.dynamic_shared_bytes = shape.shared_bytes;
  plan.cluster = shape.cluster;
  plan.cooperative = shape.cooperative;
  if (!is_shape_valid(plan)) {
    auto kernel = driver().kernels.find(f);
    const bool is_runtimes = kernel != nullptr && kernel->library->is_runtimes();
    return is_runtimes ? kInvalidConfiguration : CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult failed = gather_params(plan, kernel_params, extra)) return failed;
  return launch(std::move(plan), *stream);
}

// The attributes that change what a launch means; the others are advice about caches and
// priorities.
CUresult apply_attribute(const CUlaunchAttribute& attribute, Shape& shape) {
  switch (attribute.id) {
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
      shape.cooperative = attribute.value.cooperative != 0;
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
      shape.cluster = {attribute.value.clusterDim.x, attribute.value.clusterDim.y,
                       attribute.value.clusterDim.z};
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
    case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE: return CUDA_ERROR_NOT_SUPPORTED;
    default:
      return attribute.id < CU_LAUNCH_ATTRIBUTE_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuLaunchKernel(CUfunction f, unsigned gridDimX, unsigned gridDimY, unsigned gridDimZ,
                        unsigned blockDimX, unsigned blockDimY, unsigned blockDimZ,
                        unsigned sharedMemBytes, CUstream hStream, void** kernelParams,
                        void** extra) {
  const Shape shape{
      {gridDimX, gridDimY, gridDimZ}, {blockDimX, blockDimY, blockDimZ}, sharedMemBytes, false};
  return launch_kernel(f, shape, hStream, kernelParams, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gridDimX, unsigned gridDimY,
                                   unsigned gridDimZ, unsigned blockDimX, unsigned blockDimY,
                                   unsigned blockDimZ, unsigned sharedMemBytes, CUstream hStream,
                                   void** kernelParams) {
  const Shape shape{
      {gridDimX, gridDimY, gridDimZ}, {blockDimX, blockDimY, blockDimZ}, sharedMemBytes, true};
  return launch_kernel(f, shape, hStream, kernelParams, nullptr);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction f, void** kernelParams,
                          void** extra) {
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (config->numAttrs != 0 && config->attrs == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Shape shape{{config->gridDimX, config->gridDimY, config->gridDimZ},
              {config->blockDimX, config->blockDimY, config->blockDimZ},
              config->sharedMemBytes,
              false};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (CUresult failed = apply_attribute(config->attrs[i], shape)) return failed;
  }
  return launch_kernel(f, shape, config->hStream, kernelParams, extra);
}

CUresult cuLaunchHostFunc(CUstream hStream, CUhostFn fn, void* userData) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  if (CUresult failed = host_work({fn, userData}, &work)) return failed;
  return queue(*stream, std::move(work), CU_GRAPH_NODE_TYPE_HOST);
}

// Unlike a host function a callback is called after a fault too, and told of it.
CUresult cuStreamAddCallback(CUstream hStream, CUstreamCallback callback, void* userData,
                             unsigned flags) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (capturing(*stream)) return refuse_in_capture(*stream);
  Context* context = &stream->context();
  Work work;
  work.run = [callback, hStream, userData, context] {
    const InHostFunction inside;
    callback(hStream, context->status(), userData);
  };
  work.even_if_broken = true;
  return queue(*stream, std::move(work), CU_GRAPH_NODE_TYPE_HOST);
}
}
