// From the parameters of a graph node to the work it does.
//
//   Work work;
//   if (CUresult failed = kernel_work(params, &work)) return failed;
//
// Everything is checked when the node is made; what a node points to (kernel parameters) is copied.
// Threads: any.
#pragma once
#include "gpu_server/software_gpu/graph.h"

namespace farcall::softgpu {

CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS& params, Work* work);
CUresult memcpy_work(const CUDA_MEMCPY3D& params, Work* work);
CUresult memset_work(const CUDA_MEMSET_NODE_PARAMS& params, Work* work);
CUresult host_work(const CUDA_HOST_NODE_PARAMS& params, Work* work);
CUresult record_work(CUevent event, Work* work);
CUresult wait_work(CUevent event, Work* work);
// The child as it is now: later changes to it do not reach the parent.
CUresult child_work(CUgraph child, Work* work);

}  // namespace farcall::softgpu
