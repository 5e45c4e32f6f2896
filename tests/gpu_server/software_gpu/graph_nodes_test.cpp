#include <cstring>
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

struct OneGraph {
  CUgraph graph = nullptr;
  OneGraph() { REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS); }
  ~OneGraph() { (void)cuGraphDestroy(graph); }
  CUgraphNode empty(std::vector<CUgraphNode> after = {}) {
    CUgraphNode node = nullptr;
    REQUIRE(cuGraphAddEmptyNode(&node, graph, after.data(), after.size()) == CUDA_SUCCESS);
    return node;
  }
  CUgraphNode memory(std::size_t bytes, CUdeviceptr* address) {
    CUDA_MEM_ALLOC_NODE_PARAMS params{};
    params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    params.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    params.bytesize = bytes;
    CUgraphNode node = nullptr;
    REQUIRE(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &params) == CUDA_SUCCESS);
    *address = params.dptr;
    return node;
  }
  CUgraphExec make(unsigned long long flags = 0) {
    CUgraphExec exec = nullptr;
    REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, flags) == CUDA_SUCCESS);
    return exec;
  }
};

void count_up(void* data) { ++*static_cast<int*>(data); }

}  // namespace

TEST_CASE("a kernel node tells what it was made with, after a launch was captured too") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  CUstream stream = nullptr;
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CUdeviceptr a = session.allocate(4);
  unsigned n = 1;
  void* params[] = {&a, &a, &a, &n};
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(cuLaunchKernel(add, 3, 2, 1, 64, 1, 1, 0, stream, params, nullptr) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CUgraphNode node = nullptr;
  std::size_t count = 1;
  CHECK(cuGraphGetNodes(graph, &node, &count) == CUDA_SUCCESS);
  CUDA_KERNEL_NODE_PARAMS told{};
  CHECK(cuGraphKernelNodeGetParams_v2(node, &told) == CUDA_SUCCESS);
  CHECK(told.func == add);
  CHECK(told.gridDimX == 3);
  CHECK(told.gridDimY == 2);
  CHECK(told.blockDimX == 64);
  CUdeviceptr first = 0;
  std::memcpy(&first, told.kernelParams[0], sizeof first);
  CHECK(first == a);
  CUDA_MEMSET_NODE_PARAMS wrong{};
  CHECK(cuGraphMemsetNodeGetParams(node, &wrong) == CUDA_ERROR_INVALID_VALUE);
  CUkernelNodeAttrValue value{};
  value.priority = -2;
  CHECK(cuGraphKernelNodeSetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value) == CUDA_SUCCESS);
  CUkernelNodeAttrValue got{};
  CHECK(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &got) == CUDA_SUCCESS);
  CHECK(got.priority == -2);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(cuGraphKernelNodeGetParams_v2(node, &told) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("memory of a graph must be freed before the graph is launched again") {
  DriverSession session;
  OneGraph one;
  CUdeviceptr address = 0;
  one.memory(1 << 20, &address);
  CUgraphExec exec = one.make();
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD8_v2(address, 1, 1 << 20) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(address) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(address) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(address, nullptr) == CUDA_SUCCESS);
  CUgraph clone = nullptr;
  CHECK(cuGraphClone(&clone, one.graph) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  exec = one.make(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
  for (int i = 0; i < 3; ++i) CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(address) == CUDA_SUCCESS);
}

TEST_CASE("memory of graphs counts until it is trimmed") {
  DriverSession session;
  auto used = [] {
    std::uint64_t bytes = 0;
    CHECK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &bytes) ==
          CUDA_SUCCESS);
    return bytes;
  };
  CHECK(cuDeviceGraphMemTrim(0) == CUDA_SUCCESS);
  const std::uint64_t before = used();
  OneGraph one;
  CUdeviceptr address = 0;
  CUgraphNode made = one.memory(1 << 20, &address);
  CUgraphNode freed = nullptr;
  CHECK(cuGraphAddMemFreeNode(&freed, one.graph, &made, 1, address) == CUDA_SUCCESS);
  CHECK(cuGraphAddMemFreeNode(&freed, one.graph, &made, 1, 4096) == CUDA_ERROR_INVALID_VALUE);
  CUgraphExec exec = one.make();
  CHECK(used() == before);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(used() == before + (1 << 20));
  CHECK(cuDeviceGraphMemTrim(0) == CUDA_SUCCESS);
  CHECK(used() == before);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  std::uint64_t one_byte = 1;
  CHECK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &one_byte) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("an update that does not fit says where") {
  DriverSession session;
  OneGraph first, second, third;
  first.empty({first.empty()});
  CUgraphExec exec = first.make();
  CUgraphExecUpdateResultInfo info{};
  second.empty();
  CHECK(cuGraphExecUpdate_v2(exec, second.graph, &info) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  CHECK(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  third.empty();
  int calls = 0;
  CUDA_HOST_NODE_PARAMS host{count_up, &calls};
  CUgraphNode odd = nullptr;
  CHECK(cuGraphAddHostNode(&odd, third.graph, nullptr, 0, &host) == CUDA_SUCCESS);
  CHECK(cuGraphExecUpdate_v2(exec, third.graph, &info) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  CHECK(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
  CHECK(info.errorNode == odd);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
}

TEST_CASE("a capture whose work is not joined ends with an error") {
  DriverSession session;
  CUstream main = nullptr, side = nullptr;
  CUevent fork = nullptr;
  CHECK(cuStreamCreate(&main, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CHECK(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CHECK(cuEventCreate(&fork, 0) == CUDA_SUCCESS);
  CUdeviceptr a = session.allocate(4);
  CHECK(cuStreamBeginCapture_v2(main, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CHECK(cuEventRecord(fork, main) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(side, fork, 0) == CUDA_SUCCESS);
  CHECK(cuMemsetD32Async(a, 1, 1, side) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(main, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  CHECK(graph == nullptr);
  CHECK(cuStreamSynchronize(side) == CUDA_SUCCESS);
}

TEST_CASE("an edge keeps its data, and a query without room for it says so") {
  DriverSession session;
  OneGraph one;
  CUgraphNode first = one.empty(), second = one.empty();
  CUgraphEdgeData data{};
  data.type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  CHECK(cuGraphAddDependencies_v2(one.graph, &first, &second, &data, 1) == CUDA_SUCCESS);
  CUgraphNode from = nullptr, to = nullptr;
  CUgraphEdgeData told{};
  std::size_t count = 1;
  CHECK(cuGraphGetEdges_v2(one.graph, &from, &to, &told, &count) == CUDA_SUCCESS);
  CHECK(told.type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
  CHECK(cuGraphGetEdges(one.graph, &from, &to, &count) == CUDA_ERROR_LOSSY_QUERY);
  CHECK(cuGraphRemoveDependencies(one.graph, &first, &second, 1) == CUDA_SUCCESS);
  CHECK(cuGraphGetEdges(one.graph, nullptr, nullptr, &count) == CUDA_SUCCESS);
  CHECK(count == 0);
}

TEST_CASE("a user object ends with the last graph that holds it") {
  DriverSession session;
  int ended = 0;
  CUuserObject object = nullptr;
  CHECK(cuUserObjectCreate(&object, &ended, count_up, 0, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuUserObjectCreate(&object, &ended, count_up, 2, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) ==
        CUDA_SUCCESS);
  CUgraph graph = nullptr, clone = nullptr;
  CHECK(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  CHECK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE) == CUDA_SUCCESS);
  CHECK(cuGraphReleaseUserObject(graph, object, 2) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuUserObjectRelease(object, 1) == CUDA_SUCCESS);
  CHECK(cuGraphClone(&clone, graph) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CUgraphExec exec = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&exec, clone, 0) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(clone) == CUDA_SUCCESS);
  CHECK(ended == 0);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(ended == 1);
  CHECK(cuUserObjectRetain(object, 1) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("the child of a clone is the clone's own") {
  DriverSession session;
  OneGraph parent, child;
  child.empty();
  CUgraphNode node = nullptr, twin = nullptr;
  REQUIRE(cuGraphAddChildGraphNode(&node, parent.graph, nullptr, 0, child.graph) == CUDA_SUCCESS);
  CUgraph clone = nullptr, inner = nullptr, cloned_inner = nullptr;
  REQUIRE(cuGraphClone(&clone, parent.graph) == CUDA_SUCCESS);
  CHECK(cuGraphNodeFindInClone(&twin, node, clone) == CUDA_SUCCESS);
  CHECK(cuGraphChildGraphNodeGetGraph(node, &inner) == CUDA_SUCCESS);
  CHECK(cuGraphChildGraphNodeGetGraph(twin, &cloned_inner) == CUDA_SUCCESS);
  CHECK(inner != cloned_inner);
  CHECK(cuGraphDestroyNode(node) == CUDA_SUCCESS);
  std::size_t count = 0;
  CHECK(cuGraphGetNodes(inner, nullptr, &count) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuGraphGetNodes(cloned_inner, nullptr, &count) == CUDA_SUCCESS);
  CHECK(count == 1);
  CHECK(cuGraphDestroy(clone) == CUDA_SUCCESS);
}

TEST_CASE("a child that moves into its parent keeps its handle as long as the parent") {
  DriverSession session;
  CUgraph child = nullptr, told = nullptr;
  REQUIRE(cuGraphCreate(&child, 0) == CUDA_SUCCESS);
  std::size_t count = 0;
  {
    OneGraph parent, stranger;
    CUgraphNode foreign = stranger.empty(), node = nullptr;
    CUgraphNodeParams params{};
    params.type = CU_GRAPH_NODE_TYPE_GRAPH;
    params.graph.graph = child;
    params.graph.ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
    CHECK(cuGraphAddNode_v2(&node, parent.graph, &foreign, nullptr, 1, &params) ==
          CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphGetNodes(child, nullptr, &count) == CUDA_SUCCESS);
    REQUIRE(cuGraphAddNode_v2(&node, parent.graph, nullptr, nullptr, 0, &params) == CUDA_SUCCESS);
    CHECK(cuGraphGetNodes(child, nullptr, &count) == CUDA_SUCCESS);
    CHECK(cuGraphChildGraphNodeGetGraph(node, &told) == CUDA_SUCCESS);
    CHECK(told == child);
  }
  CHECK(cuGraphGetNodes(child, nullptr, &count) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a graph whose moved child allocates is instantiated once at a time") {
  DriverSession session;
  OneGraph inner, outer;
  CUdeviceptr address = 0;
  inner.memory(4096, &address);
  CUgraphNodeParams params{};
  params.type = CU_GRAPH_NODE_TYPE_GRAPH;
  params.graph.graph = inner.graph;
  params.graph.ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
  CUgraphNode node = nullptr;
  REQUIRE(cuGraphAddNode_v2(&node, outer.graph, nullptr, nullptr, 0, &params) == CUDA_SUCCESS);
  CUgraphExec exec = outer.make(), second = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&second, outer.graph, 0) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  exec = outer.make();
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
}

TEST_CASE("no graph moves into itself, nor into one that it holds") {
  DriverSession session;
  CUgraph outer = nullptr, inner = nullptr;
  REQUIRE(cuGraphCreate(&outer, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphCreate(&inner, 0) == CUDA_SUCCESS);
  const auto move_into = [](CUgraph child, CUgraph parent) {
    CUgraphNodeParams params{};
    params.type = CU_GRAPH_NODE_TYPE_GRAPH;
    params.graph.graph = child;
    params.graph.ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
    CUgraphNode node = nullptr;
    return cuGraphAddNode_v2(&node, parent, nullptr, nullptr, 0, &params);
  };
  CHECK(move_into(outer, outer) == CUDA_ERROR_INVALID_VALUE);
  CHECK(move_into(inner, outer) == CUDA_SUCCESS);
  CHECK(move_into(outer, inner) == CUDA_ERROR_INVALID_VALUE);
  CUgraphExec exec = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&exec, outer, 0) == CUDA_SUCCESS);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(outer) == CUDA_SUCCESS);
}

TEST_CASE("new parameters of a kernel node leave its attributes as they were") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  CUdeviceptr a = session.allocate(4);
  unsigned n = 1;
  void* arguments[] = {&a, &a, &a, &n};
  OneGraph one;
  CUDA_KERNEL_NODE_PARAMS params{};
  params.func = add;
  params.gridDimX = params.gridDimY = params.gridDimZ = 1;
  params.blockDimX = params.blockDimY = params.blockDimZ = 1;
  params.kernelParams = arguments;
  CUgraphNode node = nullptr;
  REQUIRE(cuGraphAddKernelNode_v2(&node, one.graph, nullptr, 0, &params) == CUDA_SUCCESS);
  CUkernelNodeAttrValue value{}, got{};
  value.cooperative = 1;
  CHECK(cuGraphKernelNodeSetAttribute(node, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &value) ==
        CUDA_SUCCESS);
  params.blockDimX = 2;
  CHECK(cuGraphKernelNodeSetParams_v2(node, &params) == CUDA_SUCCESS);
  CHECK(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &got) == CUDA_SUCCESS);
  CHECK(got.cooperative == 1);
  CHECK(cuGraphKernelNodeGetParams_v2(node, &params) == CUDA_SUCCESS);
  CHECK(params.blockDimX == 2);
}

TEST_CASE("a condition ends with the last of its graph and what was instantiated from it") {
  DriverSession session;
  CUgraphNodeParams params{};
  params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
  params.conditional.type = CU_GRAPH_COND_TYPE_IF;
  params.conditional.size = 1;
  params.conditional.ctx = session.context();
  CUgraphExec exec = nullptr;
  const auto still_known = [&params] {
    OneGraph other;
    CUgraphNode node = nullptr;
    return cuGraphAddNode_v2(&node, other.graph, nullptr, nullptr, 0, &params) == CUDA_SUCCESS;
  };
  {
    OneGraph one;
    REQUIRE(cuGraphConditionalHandleCreate(&params.conditional.handle, one.graph, session.context(),
                                           0, 0) == CUDA_SUCCESS);
    exec = one.make();
  }
  CHECK(still_known());
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK_FALSE(still_known());
}

TEST_CASE("operations on memory are nodes too") {
  DriverSession session;
  OneGraph one;
  CUdeviceptr word = session.allocate(8);
  CHECK(cuMemsetD32_v2(word, 0, 2) == CUDA_SUCCESS);
  CUstreamBatchMemOpParams op{};
  op.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  op.writeValue.address = word;
  op.writeValue.value = 77;
  CUDA_BATCH_MEM_OP_NODE_PARAMS params{session.context(), 1, &op, 0}, told{};
  CUgraphNode node = nullptr;
  CHECK(cuGraphAddBatchMemOpNode(&node, one.graph, nullptr, 0, &params) == CUDA_SUCCESS);
  CHECK(cuGraphBatchMemOpNodeGetParams(node, &told) == CUDA_SUCCESS);
  CHECK(told.count == 1);
  CHECK(told.paramArray[0].writeValue.value == 77);
  CUgraphExec exec = one.make();
  op.writeValue.value = 78;
  CHECK(cuGraphExecBatchMemOpNodeSetParams(exec, node, &params) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  std::uint32_t value = 0;
  CHECK(cuMemcpyDtoH_v2(&value, word, 4) == CUDA_SUCCESS);
  CHECK(value == 78);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
