// From the parameters of a graph node to the work it does.
//
//   Work work;
//   if (CUresult failed = kernel_work(params, &work)) return failed;
//
// Everything is checked when the node is made; what a node points to (kernel parameters) is copied,
// and Work::params tells what it was made with.
// Threads: any.
#pragma once
#include "gpu_server/software_gpu/copy.h"
#include "gpu_server/software_gpu/graph.h"
#include "gpu_server/software_gpu/graph_params.h"

namespace farcall::softgpu {

CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS& params, Work* work);
CUresult memcpy_work(const CUDA_MEMCPY3D& params, Work* work);
CUresult memset_work(const CUDA_MEMSET_NODE_PARAMS& params, Work* work);
CUresult host_work(const CUDA_HOST_NODE_PARAMS& params, Work* work);
CUresult record_work(CUevent event, Work* work);
CUresult wait_work(CUevent event, Work* work);
CUresult mem_op_work(const CUDA_BATCH_MEM_OP_NODE_PARAMS& params, Work* work);
// The child as it is now: later changes to it do not reach the parent.
CUresult child_work(CUgraph child, Work* work);
// The child itself. Its handle stays the program's until take_child(), once the work is a node's.
CUresult moved_child_work(CUgraph child, Work* work);
void take_child(const Work& work);
// Fills in the address.
CUresult allocation_work(CUDA_MEM_ALLOC_NODE_PARAMS& params, Work* work);
CUresult free_work(CUdeviceptr address, Work* work);
// Fills in the bodies.
CUresult conditional_work(CUDA_CONDITIONAL_NODE_PARAMS& params, Work* work);
// Whether the program's child graph itself is to be the node's.
bool is_moving(const CUgraphNodeParams& params);
// Of any served type. Fills in what the node gives back.
CUresult any_work(CUgraphNodeParams& params, Work* work);

// A kernel's work made anew with these attributes. Errors: those of check_launch().
CUresult with_attributes(const Work& kernel, std::map<int, CUlaunchAttributeValue> attributes,
                         Work* work);

// Captured work, as if its node had been made with parameters.
Work captured_work(LaunchPlan plan);
Work captured_work(const CopyPlan& plan, Work work);
Work captured_work(const FillPlan& plan, Work work);

}  // namespace farcall::softgpu
