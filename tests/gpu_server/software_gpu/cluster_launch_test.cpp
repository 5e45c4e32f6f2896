// Clusters of blocks, however a program asks for them: with a launch, in a graph, of a function.
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

// Each block writes how many blocks its cluster has.
constexpr const char* kClusterPtx = R"(
.version 8.0
.target sm_90
.address_size 64
.visible .entry any(.param .u64 out)
{
  .reg .b32 %r<4>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %ctaid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd1, %rd1, %rd2;
  mov.u32 %r2, %cluster_nctarank;
  st.global.u32 [%rd1], %r2;
  ret;
}
.visible .entry pairs(.param .u64 out) .explicitcluster .reqnctapercluster 2, 1, 1
{
  ret;
}
)";

constexpr unsigned kBlocks = 4;

struct Blocks {
  explicit Blocks(DriverSession& session) : out(session.allocate(kBlocks * 4)) {}
  // What each block wrote last, if all wrote the same; else 0.
  unsigned cluster() {
    std::vector<unsigned> said(kBlocks);
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    REQUIRE(cuMemcpyDtoH_v2(said.data(), out, kBlocks * 4) == CUDA_SUCCESS);
    REQUIRE(cuMemsetD32_v2(out, 0, kBlocks) == CUDA_SUCCESS);
    return said == std::vector<unsigned>(kBlocks, said[0]) ? said[0] : 0;
  }
  CUdeviceptr out;
  void* params[1] = {&out};
};

CUlaunchAttributeValue cluster_of(unsigned blocks) {
  CUlaunchAttributeValue value{};
  value.clusterDim.x = blocks;
  value.clusterDim.y = value.clusterDim.z = 1;
  return value;
}

CUresult launch_clusters(CUfunction function, unsigned blocks, CUstream stream, void** params) {
  CUlaunchAttribute attribute{};
  attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attribute.value = cluster_of(blocks);
  CUlaunchConfig config{};
  config.gridDimX = kBlocks;
  config.gridDimY = config.gridDimZ = config.blockDimX = config.blockDimY = config.blockDimZ = 1;
  config.hStream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cuLaunchKernelEx(&config, function, params, nullptr);
}

CUresult launch_plain(CUfunction function, void** params) {
  return cuLaunchKernel(function, kBlocks, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr);
}

void run_once(CUgraph graph) {
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  REQUIRE(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
}

int attribute_of(CUfunction function, CUfunction_attribute which) {
  int value = -1;
  REQUIRE(cuFuncGetAttribute(&value, which, function) == CUDA_SUCCESS);
  return value;
}

}  // namespace

TEST_CASE("a captured launch keeps its clusters when its node gets new parameters") {
  DriverSession session;
  Blocks blocks(session);
  CUfunction any = session.function(kClusterPtx, "any");
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(launch_clusters(any, 2, stream, blocks.params) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CUgraphNode node = nullptr;
  std::size_t count = 1;
  REQUIRE(cuGraphGetNodes(graph, &node, &count) == CUDA_SUCCESS);
  CUkernelNodeAttrValue got{};
  CHECK(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &got) ==
        CUDA_SUCCESS);
  CHECK(got.clusterDim.x == 2);
  CHECK(got.clusterDim.z == 1);
  CUDA_KERNEL_NODE_PARAMS params{};
  REQUIRE(cuGraphKernelNodeGetParams_v2(node, &params) == CUDA_SUCCESS);
  params.kernelParams = blocks.params;  // those told end with what the node was made with
  CHECK(cuGraphKernelNodeSetParams_v2(node, &params) == CUDA_SUCCESS);
  run_once(graph);
  CHECK(blocks.cluster() == 2);
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  CHECK(cuGraphExecKernelNodeSetParams_v2(exec, node, &params) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(blocks.cluster() == 2);
  params.gridDimX = 3;
  CHECK(cuGraphKernelNodeSetParams_v2(node, &params) == CUDA_ERROR_INVALID_CLUSTER_SIZE);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
}

TEST_CASE("a kernel node runs in the clusters that its attribute asks for") {
  DriverSession session;
  Blocks blocks(session);
  CUgraph graph = nullptr;
  REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  CUDA_KERNEL_NODE_PARAMS params{};
  params.func = session.function(kClusterPtx, "any");
  params.gridDimX = kBlocks;
  params.gridDimY = params.gridDimZ = params.blockDimX = params.blockDimY = params.blockDimZ = 1;
  params.kernelParams = blocks.params;
  CUgraphNode node = nullptr, copy = nullptr;
  REQUIRE(cuGraphAddKernelNode_v2(&node, graph, nullptr, 0, &params) == CUDA_SUCCESS);
  CUkernelNodeAttrValue value = cluster_of(4);
  const auto set = [&] {
    return cuGraphKernelNodeSetAttribute(node, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &value);
  };
  CHECK(set() == CUDA_SUCCESS);
  run_once(graph);
  CHECK(blocks.cluster() == 4);
  value = cluster_of(3);
  CHECK(set() == CUDA_ERROR_INVALID_CLUSTER_SIZE);
  run_once(graph);
  CHECK(blocks.cluster() == 4);
  REQUIRE(cuGraphAddKernelNode_v2(&copy, graph, &node, 1, &params) == CUDA_SUCCESS);
  run_once(graph);
  CHECK(blocks.cluster() == 1);
  CHECK(cuGraphKernelNodeCopyAttributes(copy, node) == CUDA_SUCCESS);
  run_once(graph);
  CHECK(blocks.cluster() == 4);
  // As an attribute that was never set reads.
  value = {};
  CHECK(set() == CUDA_SUCCESS);
  CHECK(cuGraphKernelNodeCopyAttributes(copy, node) == CUDA_SUCCESS);
  run_once(graph);
  CHECK(blocks.cluster() == 1);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
}

TEST_CASE("a function that requires clusters is launched in them") {
  DriverSession session;
  Blocks blocks(session);
  CUfunction any = session.function(kClusterPtx, "any");
  CHECK(cuFuncSetAttribute(any, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, -1) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuFuncSetAttribute(any, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 2) == CUDA_SUCCESS);
  // "The width, height, and depth values must either all be 0 or all be positive" (cuda.h).
  CHECK(launch_plain(any, blocks.params) == CUDA_ERROR_INVALID_CLUSTER_SIZE);
  CHECK(cuFuncSetAttribute(any, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, 1) == CUDA_SUCCESS);
  CHECK(cuFuncSetAttribute(any, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, 1) == CUDA_SUCCESS);
  CHECK(launch_plain(any, blocks.params) == CUDA_SUCCESS);
  CHECK(blocks.cluster() == 2);
  CHECK(launch_clusters(any, 2, nullptr, blocks.params) == CUDA_SUCCESS);
  CHECK(blocks.cluster() == 2);
  CHECK(launch_clusters(any, 4, nullptr, blocks.params) == CUDA_ERROR_INVALID_CLUSTER_SIZE);
}

TEST_CASE("clusters that a kernel was compiled for are told, and cannot be set") {
  DriverSession session;
  Blocks blocks(session);
  CUfunction pairs = session.function(kClusterPtx, "pairs");
  CHECK(attribute_of(pairs, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH) == 2);
  CHECK(attribute_of(pairs, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH) == 1);
  CHECK(attribute_of(pairs, CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET) == 1);
  CHECK(cuFuncSetAttribute(pairs, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 2) ==
        CUDA_ERROR_NOT_PERMITTED);
  CHECK(launch_plain(pairs, blocks.params) == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
