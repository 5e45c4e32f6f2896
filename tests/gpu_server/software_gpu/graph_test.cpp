#include <algorithm>
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

CUstream make_stream() {
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  return stream;
}

void append(void* data) {
  auto& list = *static_cast<std::vector<int>*>(data);
  list.push_back(static_cast<int>(list.size()));
}

int value_at(CUdeviceptr device) {
  int value = 0;
  REQUIRE(cuMemcpyDtoH_v2(&value, device, 4) == CUDA_SUCCESS);
  return value;
}

}  // namespace

TEST_CASE("captured work is not done, and done each time the graph is launched") {
  DriverSession session;
  CUfunction add = session.function(kAddPtx, "add");
  CUstream stream = make_stream();
  CUdeviceptr sum = session.allocate(4), one = session.allocate(4);
  CHECK(cuMemsetD32_v2(sum, 0, 1) == CUDA_SUCCESS);
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CUstreamCaptureStatus status{};
  CHECK(cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS);
  CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  CHECK(cuMemsetD32Async(one, 1, 1, stream) == CUDA_SUCCESS);
  unsigned n = 1;
  void* params[] = {&sum, &sum, &one, &n};
  CHECK(cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CHECK(value_at(sum) == 0);
  std::size_t count = 0;
  CHECK(cuGraphGetNodes(graph, nullptr, &count) == CUDA_SUCCESS);
  CHECK(count == 2);
  CHECK(cuGraphGetRootNodes(graph, nullptr, &count) == CUDA_SUCCESS);
  CHECK(count == 1);
  CUgraphExec exec = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  for (int i = 0; i < 5; ++i) CHECK(cuGraphLaunch(exec, stream) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(value_at(sum) == 5);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, stream) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a capture spreads to a stream that waits for an event of it, and comes back") {
  DriverSession session;
  CUstream main = make_stream(), side = make_stream();
  CUevent fork = nullptr, join = nullptr;
  CHECK(cuEventCreate(&fork, 0) == CUDA_SUCCESS);
  CHECK(cuEventCreate(&join, 0) == CUDA_SUCCESS);
  CUdeviceptr a = session.allocate(4), b = session.allocate(4);
  CHECK(cuMemsetD32_v2(b, 0, 1) == CUDA_SUCCESS);
  CHECK(cuStreamBeginCapture_v2(main, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(cuMemsetD32Async(a, 9, 1, main) == CUDA_SUCCESS);
  CHECK(cuEventRecord(fork, main) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(side, fork, 0) == CUDA_SUCCESS);
  CHECK(cuMemcpyDtoDAsync_v2(b, a, 4, side) == CUDA_SUCCESS);
  CHECK(cuEventRecord(join, side) == CUDA_SUCCESS);
  CHECK(cuStreamWaitEvent(main, join, 0) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(side, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  CHECK(cuStreamEndCapture(main, &graph) == CUDA_SUCCESS);
  CUstreamCaptureStatus status{};
  CHECK(cuStreamIsCapturing(side, &status) == CUDA_SUCCESS);
  CHECK(status == CU_STREAM_CAPTURE_STATUS_NONE);
  std::size_t edges = 0;
  CHECK(cuGraphGetEdges(graph, nullptr, nullptr, &edges) == CUDA_SUCCESS);
  CHECK(edges == 1);
  CUgraphExec exec = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, main) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(main) == CUDA_SUCCESS);
  CHECK(value_at(b) == 9);
}

TEST_CASE("the end of a capture lets go of streams of other devices, too") {
  DriverSession session;
  CUcontext other = nullptr;
  REQUIRE(cuCtxCreate_v2(&other, 0, 1) == CUDA_SUCCESS);
  CUstream side = make_stream();
  CUdeviceptr there = session.allocate(4);
  CHECK(cuMemsetD32_v2(there, 0, 1) == CUDA_SUCCESS);
  CHECK(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
  const auto capture = [&](CUstream main) {
    CUevent fork = nullptr, join = nullptr;
    CHECK(cuEventCreate(&fork, 0) == CUDA_SUCCESS);
    CHECK(cuStreamBeginCapture_v2(main, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
    CHECK(cuEventRecord(fork, main) == CUDA_SUCCESS);
    CHECK(cuStreamWaitEvent(side, fork, 0) == CUDA_SUCCESS);
    CHECK(cuCtxSetCurrent(other) == CUDA_SUCCESS);
    CHECK(cuEventCreate(&join, 0) == CUDA_SUCCESS);
    CHECK(cuMemsetD32Async(there, 5, 1, side) == CUDA_SUCCESS);
    CHECK(cuEventRecord(join, side) == CUDA_SUCCESS);
    CHECK(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
    CHECK(cuStreamWaitEvent(main, join, 0) == CUDA_SUCCESS);
  };
  const auto is_free = [&](unsigned value) {
    CUstreamCaptureStatus status{};
    CHECK(cuCtxSetCurrent(other) == CUDA_SUCCESS);
    CHECK(cuStreamIsCapturing(side, &status) == CUDA_SUCCESS);
    CHECK(cuMemsetD32Async(there, value, 1, side) == CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(side) == CUDA_SUCCESS);
    CHECK(static_cast<unsigned>(value_at(there)) == value);
    CHECK(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
    return status == CU_STREAM_CAPTURE_STATUS_NONE;
  };
  CUstream main = make_stream(), lost = make_stream();
  capture(main);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(main, &graph) == CUDA_SUCCESS);
  CHECK(is_free(7));
  capture(lost);
  CHECK(cuStreamDestroy_v2(lost) == CUDA_SUCCESS);
  CHECK(is_free(8));
  capture(main);
  CHECK(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
  CHECK(is_free(9));
  CHECK(cuCtxDestroy_v2(other) == CUDA_SUCCESS);
}

TEST_CASE("the graph of a capture goes with the context in which it was begun") {
  DriverSession session;
  CUstream stream = make_stream();
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CUstreamCaptureStatus status{};
  CUgraph graph = nullptr;
  CHECK(cuStreamGetCaptureInfo_v2(stream, &status, nullptr, &graph, nullptr, nullptr) ==
        CUDA_SUCCESS);
  std::size_t nodes = 0;
  CHECK(cuGraphGetNodes(graph, nullptr, &nodes) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
  CHECK(cuGraphGetNodes(graph, nullptr, &nodes) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a look at an event in a capture spoils it, one at another event only where it may not") {
  DriverSession session;
  CUstream stream = make_stream();
  CUevent inside = nullptr, before = nullptr;
  CHECK(cuEventCreate(&inside, 0) == CUDA_SUCCESS);
  CHECK(cuEventCreate(&before, 0) == CUDA_SUCCESS);
  CHECK(cuEventRecord(before, stream) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CHECK(cuEventQuery(before) == CUDA_SUCCESS);
  CHECK(cuEventRecord(inside, stream) == CUDA_SUCCESS);
  CHECK(cuEventQuery(inside) == CUDA_ERROR_CAPTURED_EVENT);
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(cuEventQuery(before) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_CASE("a capture of a stream that is destroyed forbids nothing any more") {
  DriverSession session;
  CUstream stream = make_stream();
  CUdeviceptr block = 0;
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&block, 64) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(cuMemAlloc_v2(&block, 64) == CUDA_SUCCESS);
}

TEST_CASE("a graph with memory nodes is instantiated once at a time") {
  DriverSession session;
  CUstream stream = make_stream();
  CUdeviceptr block = 0;
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(cuMemAllocAsync(&block, 64, stream) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(block, stream) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CUgraphExec one = nullptr, two = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&one, graph, 0) == CUDA_SUCCESS);
  CHECK(cuGraphInstantiateWithFlags(&two, graph, 0) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuGraphExecDestroy(one) == CUDA_SUCCESS);
  CHECK(cuGraphInstantiateWithFlags(&two, graph, 0) == CUDA_SUCCESS);
}

TEST_CASE("memory of a graph ends with its context, and frees nobody else's later") {
  DriverSession session;
  CUgraph graph = nullptr;
  CHECK(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  CUDA_MEM_ALLOC_NODE_PARAMS params{};
  params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  params.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  params.bytesize = 64;
  CUgraphNode node = nullptr;
  CHECK(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &params) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);  // a reset is no release
  std::vector<CUdeviceptr> blocks(16);
  for (CUdeviceptr& block : blocks) CHECK(cuMemAlloc_v2(&block, 64) == CUDA_SUCCESS);
  CHECK(std::find(blocks.begin(), blocks.end(), params.dptr) != blocks.end());
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  for (CUdeviceptr block : blocks) CHECK(cuMemFree_v2(block) == CUDA_SUCCESS);
}

TEST_CASE("waiting for a stream that is being captured ends the capture") {
  DriverSession session;
  CUstream stream = make_stream();
  CHECK(cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL) ==
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_ERROR_ILLEGAL_STATE);
  CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  CHECK(graph == nullptr);
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_ILLEGAL_STATE);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
}

TEST_CASE("nodes run after the nodes they depend on, in whatever order they were made") {
  DriverSession session;
  CUgraph graph = nullptr;
  CHECK(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  CUdeviceptr device = session.allocate(4);
  CUDA_MEMSET_NODE_PARAMS last{device, 4, 2, 4, 1, 1}, first{device, 4, 1, 4, 1, 1};
  CUgraphNode late = nullptr, early = nullptr;
  CHECK(cuGraphAddMemsetNode(&late, graph, nullptr, 0, &last, session.context()) == CUDA_SUCCESS);
  CHECK(cuGraphAddMemsetNode(&early, graph, nullptr, 0, &first, session.context()) == CUDA_SUCCESS);
  CHECK(cuGraphAddDependencies(graph, &early, &late, 1) == CUDA_SUCCESS);
  CHECK(cuGraphAddDependencies(graph, &early, &late, 1) == CUDA_ERROR_INVALID_VALUE);
  CUgraphExec exec = nullptr;
  CHECK(cuGraphInstantiate_v2(&exec, graph, nullptr, nullptr, 0) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(value_at(device) == 2);
  last.value = 3;
  CHECK(cuGraphExecMemsetNodeSetParams(exec, late, &last, session.context()) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(value_at(device) == 3);
  CHECK(cuGraphNodeSetEnabled(exec, late, 0) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(value_at(device) == 1);
  CHECK(cuGraphAddDependencies(graph, &late, &early, 1) == CUDA_SUCCESS);
  CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a clone is a graph of its own, and a child graph runs inside its parent") {
  DriverSession session;
  std::vector<int> calls;
  CUDA_HOST_NODE_PARAMS host{&append, &calls};
  CUgraph child = nullptr, parent = nullptr, clone = nullptr;
  CUgraphNode node = nullptr, twin = nullptr, inside = nullptr;
  CHECK(cuGraphCreate(&child, 0) == CUDA_SUCCESS);
  CHECK(cuGraphAddHostNode(&node, child, nullptr, 0, &host) == CUDA_SUCCESS);
  CHECK(cuGraphClone(&clone, child) == CUDA_SUCCESS);
  CHECK(cuGraphNodeFindInClone(&twin, node, clone) == CUDA_SUCCESS);
  CHECK(twin != node);
  CHECK(cuGraphCreate(&parent, 0) == CUDA_SUCCESS);
  CHECK(cuGraphAddChildGraphNode(&inside, parent, nullptr, 0, child) == CUDA_SUCCESS);
  CHECK(cuGraphAddHostNode(&node, parent, &inside, 1, &host) == CUDA_SUCCESS);
  CHECK(cuGraphAddHostNode(&node, parent, &twin, 1, &host) == CUDA_ERROR_INVALID_VALUE);
  CUgraphExec exec = nullptr;
  CHECK(cuGraphInstantiateWithFlags(&exec, parent, 0) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(child) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(parent) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(calls.size() == 2);
}

}  // namespace farcall::softgpu::tests
