#include "gpu_server/software_gpu/graph_work.h"

#include "gpu_server/software_gpu/copy.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/launch.h"
#include "transport/base/clock.h"

namespace farcall::softgpu {

CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS& params, Work* work) {
  Context* context = nullptr;
  const CUcontext wanted = params.func == nullptr ? params.ctx : nullptr;
  if (CUresult failed = find_context(wanted, &context)) return failed;
  const CUfunction handle =
      params.func != nullptr ? params.func : reinterpret_cast<CUfunction>(params.kern);
  LaunchPlan plan;
  if (CUresult failed = find_function(handle, *context, &plan.function)) return failed;
  plan.grid = {params.gridDimX, params.gridDimY, params.gridDimZ};
  plan.block = {params.blockDimX, params.blockDimY, params.blockDimZ};
  plan.dynamic_shared_bytes = params.sharedMemBytes;
  if (CUresult failed = gather_params(plan, params.kernelParams, params.extra)) return failed;
  if (CUresult failed = check_launch(plan)) return failed;
  *work = launch_work(std::move(plan));
  return CUDA_SUCCESS;
}

CUresult memcpy_work(const CUDA_MEMCPY3D& params, Work* work) {
  CopyPlan plan;
  if (CUresult failed = plan_from(params, &plan)) return failed;
  return copy_work(plan, work);
}

CUresult memset_work(const CUDA_MEMSET_NODE_PARAMS& params, Work* work) {
  if (params.elementSize != 1 && params.elementSize != 2 && params.elementSize != 4) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return fill_work(
      {params.dst, params.pitch, params.value, params.elementSize, params.width, params.height},
      work);
}

CUresult host_work(const CUDA_HOST_NODE_PARAMS& params, Work* work) {
  if (params.fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *work = {[params] {
    const InHostFunction inside;
    params.fn(params.userData);
  }};
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
  return CUDA_SUCCESS;
}

CUresult wait_work(CUevent handle, Work* work) {
  auto event = driver().events.find(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  *work = {[event] {
    for (const CompletionPtr& point : event->points()) point->wait();
  }};
  return CUDA_SUCCESS;
}

CUresult child_work(CUgraph handle, Work* work) {
  auto child = driver().graphs.find(handle);
  if (!child) return CUDA_ERROR_INVALID_HANDLE;
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  std::shared_ptr<GraphExec> exec;
  if (CUresult failed = GraphExec::make(*child, &exec)) return failed;
  *work = exec->work(*context);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
