// Memory of graphs while it is in flight, and when what it belongs to has gone.
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

constexpr std::size_t kBytes = 4096;  // kept open by the device, so that a mistake is no crash

CUgraph new_graph() {
  CUgraph graph = nullptr;
  REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  return graph;
}

CUgraphNode allocate_in(CUgraph graph, CUdeviceptr* address) {
  CUDA_MEM_ALLOC_NODE_PARAMS params{};
  params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  params.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  params.bytesize = kBytes;
  CUgraphNode node = nullptr;
  REQUIRE(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &params) == CUDA_SUCCESS);
  *address = params.dptr;
  return node;
}

CUgraphNode fill_in(CUgraph graph, CUgraphNode after, CUdeviceptr address, unsigned value) {
  const CUDA_MEMSET_NODE_PARAMS params{address, 0, value, 1, kBytes, 1};
  CUgraphNode node = nullptr;
  REQUIRE(cuGraphAddMemsetNode(&node, graph, &after, 1, &params, nullptr) == CUDA_SUCCESS);
  return node;
}

CUgraphNode free_in(CUgraph graph, CUgraphNode after, CUdeviceptr address) {
  CUgraphNode node = nullptr;
  REQUIRE(cuGraphAddMemFreeNode(&node, graph, &after, 1, address) == CUDA_SUCCESS);
  return node;
}

CUgraphExec instantiate(CUgraph graph) {
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  return exec;
}

// A stream that a gate holds up.
struct HeldStream {
  Gate gate;
  CUstream stream = nullptr;
  HeldStream() {
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    REQUIRE(cuLaunchHostFunc(stream, Gate::wait_at, &gate) == CUDA_SUCCESS);
  }
  void go() {
    gate.open();
    CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  }
  ~HeldStream() {
    gate.open();
    (void)cuStreamDestroy_v2(stream);
  }
};

// What the next allocations of that size hold, once `held` has gone on.
bool stays_zero(DriverSession& session, HeldStream& held) {
  std::vector<CUdeviceptr> others;
  for (int i = 0; i < 4; ++i) others.push_back(session.allocate(kBytes));
  for (CUdeviceptr other : others) {
    REQUIRE(cuMemsetD8Async(other, 0, kBytes, nullptr) == CUDA_SUCCESS);
  }
  REQUIRE(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
  held.go();
  bool is_zero = true;
  for (CUdeviceptr other : others) {
    std::vector<unsigned char> bytes(kBytes);
    CHECK(cuMemcpyDtoH_v2(bytes.data(), other, kBytes) == CUDA_SUCCESS);
    is_zero = is_zero && bytes == std::vector<unsigned char>(kBytes);
    CHECK(cuMemFree_v2(other) == CUDA_SUCCESS);
  }
  return is_zero;
}

}  // namespace

TEST_CASE("memory of a graph in flight outlives the graph and its instance") {
  DriverSession session;
  const std::size_t before = session.free_bytes();
  {
    HeldStream held;
    CUgraph graph = new_graph();
    CUdeviceptr address = 0;
    CUgraphNode made = allocate_in(graph, &address);
    free_in(graph, fill_in(graph, made, address, 0xab), address);
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphLaunch(exec, held.stream) == CUDA_SUCCESS);
    CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
    CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
    CHECK(stays_zero(session, held));
  }
  CHECK(session.free_bytes() == before);
}

TEST_CASE("memory that another graph frees outlives what is in flight") {
  DriverSession session;
  HeldStream held;
  CUgraph first = new_graph(), second = new_graph();
  CUdeviceptr address = 0;
  allocate_in(first, &address);
  CUgraphNode root = nullptr;
  REQUIRE(cuGraphAddEmptyNode(&root, second, nullptr, 0) == CUDA_SUCCESS);
  free_in(second, fill_in(second, root, address, 0xcd), address);
  CUgraphExec makes = instantiate(first), frees = instantiate(second);
  CHECK(cuGraphLaunch(makes, held.stream) == CUDA_SUCCESS);
  CHECK(cuGraphExecDestroy(makes) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(first) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(frees, held.stream) == CUDA_SUCCESS);
  CHECK(stays_zero(session, held));
  CHECK(cuGraphExecDestroy(frees) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(second) == CUDA_SUCCESS);
}

TEST_CASE("cuMemFreeAsync of a graph's memory takes its turn in the stream") {
  DriverSession session;
  HeldStream held;
  CUgraph graph = new_graph();
  CUdeviceptr address = 0;
  allocate_in(graph, &address);
  CUgraphExec exec = instantiate(graph);
  CHECK(cuGraphLaunch(exec, held.stream) == CUDA_SUCCESS);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(cuMemsetD8Async(address, 0xef, kBytes, held.stream) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(address, held.stream) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(address, held.stream) == CUDA_ERROR_INVALID_VALUE);
  CHECK(stays_zero(session, held));
}

TEST_CASE("memory of graphs ends with its context, and its address may be another's") {
  DriverSession session;
  for (bool is_alive : {true, false}) {
    CUcontext context = nullptr;
    REQUIRE(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
    CUgraph graph = new_graph();
    CUdeviceptr address = 0;
    allocate_in(graph, &address);
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
    if (!is_alive) CHECK(cuMemFree_v2(address) == CUDA_SUCCESS);
    CHECK(cuCtxDestroy_v2(context) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
    std::vector<CUdeviceptr> others;
    do {
      others.push_back(session.allocate(kBytes));
    } while (others.back() != address && others.size() < 64);
    REQUIRE(others.back() == address);
    CHECK(cuGraphLaunch(exec, nullptr) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
    CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
    CHECK(cuMemsetD8_v2(address, 1, kBytes) == CUDA_SUCCESS);
    for (CUdeviceptr other : others) CHECK(cuMemFree_v2(other) == CUDA_SUCCESS);
    CHECK(cuMemFree_v2(address) == CUDA_ERROR_INVALID_VALUE);
  }
}

TEST_CASE("a launch that is refused has allocated nothing") {
  DriverSession session;
  CUgraph graph = new_graph();
  CUdeviceptr first = 0, second = 0;
  allocate_in(graph, &first);
  allocate_in(graph, &second);
  CUgraphExec exec = instantiate(graph);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(first) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(first) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(second) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(first) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(second) == CUDA_SUCCESS);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
}

TEST_CASE("a capture wants a place for the address that it allocates") {
  DriverSession session;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CHECK(cuMemAllocAsync(nullptr, kBytes, stream) == CUDA_ERROR_INVALID_VALUE);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
}

}  // namespace farcall::softgpu::tests
