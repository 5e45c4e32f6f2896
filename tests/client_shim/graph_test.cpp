// Graphs through a session, on the software GPU: what their launches cost, and where their copies
// leave the program's memory.
#ifdef FARCALL_TEST_SOFTWARE_GPU
#  include <atomic>
#  include <vector>

#  include "client_shim/graph_copies.h"
#  include "client_shim/graph_kept.h"
#  include "tests/client_shim/software_gpu.h"

namespace farcall::shim {
namespace {

struct Session {
  SoftwareGpu device;
  World world{device};
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  Session() {
    world.use_device();
    CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_OK(cuGraphCreate(&graph, 0));
  }
  CUdeviceptr allocate(std::size_t bytes) {
    CUdeviceptr address = 0;
    CUDA_OK(cuMemAlloc_v2(&address, bytes));
    return address;
  }
  CUgraphNode copy(CUdeviceptr device_end, int* host, bool to_device,
                   std::vector<CUgraphNode> after = {}) {
    CUDA_MEMCPY3D params{};
    params.srcMemoryType = to_device ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    params.dstMemoryType = to_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    params.srcHost = host;
    params.dstHost = host;
    params.srcDevice = params.dstDevice = device_end;
    params.WidthInBytes = sizeof(int);
    params.Height = params.Depth = 1;
    CUcontext context = nullptr;
    CUDA_OK(cuCtxGetCurrent(&context));
    CUgraphNode node = nullptr;
    CUDA_OK(cuGraphAddMemcpyNode(&node, graph, after.data(), after.size(), &params, context));
    return node;
  }
  CUgraphExec make() {
    CUgraphExec exec = nullptr;
    CUDA_OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    return exec;
  }
};

}  // namespace

TEST_CASE("a launch of a graph is one posted message, and so is every copy around it") {
  Session s;
  CUdeviceptr word = s.allocate(4);
  CUDA_MEMSET_NODE_PARAMS fill{word, 4, 9, 4, 1, 1};
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  CUgraphNode node = nullptr;
  CUDA_OK(cuGraphAddMemsetNode(&node, s.graph, nullptr, 0, &fill, context));
  CUgraphExec plain = s.make();
  CHECK(s.world.round_trips([&] {
    for (int i = 0; i < 20; ++i) CUDA_OK(cuGraphLaunch(plain, s.stream));
  }) == 0);
  int in = 1, out = 0;
  CUgraphNode brought = s.copy(word, &in, true, {node});
  s.copy(word, &out, false, {brought});
  CUgraphExec exec = s.make();
  CUDA_OK(cuGraphLaunch(exec, s.stream));
  CUDA_OK(cuStreamSynchronize(s.stream));
  CHECK(out == 1);
  CHECK(s.world.round_trips([&] {
    for (in = 2; in < 10; ++in) CUDA_OK(cuGraphLaunch(exec, s.stream));
  }) == 0);
  CUDA_OK(cuStreamSynchronize(s.stream));
  CHECK(out == 9);
}

TEST_CASE("copies captured in a stream read and write the program's memory at each launch") {
  Session s;
  CUdeviceptr word = s.allocate(4);
  int in = 5, out = 0;
  CUDA_OK(cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  CUDA_OK(cuMemcpyHtoDAsync_v2(word, &in, 4, s.stream));
  CUDA_OK(cuMemcpyDtoHAsync_v2(&out, word, 4, s.stream));
  CUgraph graph = nullptr;
  CUDA_OK(cuStreamEndCapture(s.stream, &graph));
  CHECK(out == 0);
  CUgraphExec exec = nullptr;
  CUDA_OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  CUDA_OK(cuGraphDestroy(graph));
  for (int value : {6, 7}) {
    in = value;
    CUDA_OK(cuGraphLaunch(exec, s.stream));
    CUDA_OK(cuStreamSynchronize(s.stream));
    CHECK(out == value);
  }
  CUDA_OK(cuGraphExecDestroy(exec));
}

TEST_CASE("what stands in for host memory is not what a program is told") {
  Session s;
  CUdeviceptr word = s.allocate(4);
  int in = 5;
  CUgraphNode node = s.copy(word, &in, true);
  CUDA_MEMCPY3D told{};
  CUDA_OK(cuGraphMemcpyNodeGetParams(node, &told));
  CHECK(told.srcMemoryType == CU_MEMORYTYPE_HOST);
  CHECK(told.srcHost == &in);
  CHECK(told.dstDevice == word);
  int other = 6;
  told.srcHost = &other;
  CUDA_OK(cuGraphMemcpyNodeSetParams(node, &told));
  CUgraphExec exec = s.make();
  CUDA_OK(cuGraphLaunch(exec, s.stream));
  int got = 0;
  CUDA_OK(cuStreamSynchronize(s.stream));
  CUDA_OK(cuMemcpyDtoH_v2(&got, word, 4));
  CHECK(got == 6);
}

TEST_CASE("memory that stood in for host memory goes with its graphs") {
  Session s;
  std::size_t before = 0, after = 0, total = 0;
  CUDA_OK(cuMemGetInfo_v2(&before, &total));
  std::vector<int> host(1 << 18);
  CUdeviceptr memory = s.allocate(1 << 20);
  CUDA_OK(cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  CUDA_OK(cuMemcpyHtoDAsync_v2(memory, host.data(), 1 << 20, s.stream));
  CUgraph graph = nullptr;
  CUDA_OK(cuStreamEndCapture(s.stream, &graph));
  CUgraphExec exec = nullptr;
  CUDA_OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  CUDA_OK(cuGraphDestroy(graph));
  CUDA_OK(cuGraphExecDestroy(exec));
  CUDA_OK(cuMemFree_v2(memory));
  CUDA_OK(cuMemGetInfo_v2(&after, &total));
  CHECK(after == before);
}

TEST_CASE("an update that fails says why, and so does an instantiation") {
  Session s;
  CUgraphNode first = nullptr, second = nullptr;
  CUDA_OK(cuGraphAddEmptyNode(&first, s.graph, nullptr, 0));
  CUDA_OK(cuGraphAddEmptyNode(&second, s.graph, &first, 1));
  CUgraphExec exec = s.make();
  CUgraph other = nullptr;
  CUDA_OK(cuGraphCreate(&other, 0));
  CUgraphExecUpdateResultInfo info{};
  CHECK(cuGraphExecUpdate_v2(exec, other, &info) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  CHECK(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  CUDA_OK(cuGraphAddDependencies(s.graph, &second, &first, 1));
  CUDA_GRAPH_INSTANTIATE_PARAMS params{};
  CHECK(cuGraphInstantiateWithParams(&exec, s.graph, &params) == CUDA_ERROR_INVALID_VALUE);
  CHECK(params.result_out == CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE);
}

TEST_CASE("a capture tells where it is, and a stale node is no handle") {
  Session s;
  CUdeviceptr word = s.allocate(4);
  CUDA_OK(cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  CUDA_OK(cuMemsetD32Async(word, 1, 1, s.stream));
  CUstreamCaptureStatus status{};
  cuuint64_t id = 0;
  CUgraph graph = nullptr, ended = nullptr;
  const CUgraphNode* nodes = nullptr;
  std::size_t count = 0;
  CUDA_OK(cuStreamGetCaptureInfo_v2(s.stream, &status, &id, &graph, &nodes, &count));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  REQUIRE(count == 1);
  const CUgraphEdgeData* edges = nullptr;
  CHECK(cuStreamGetCaptureInfo_v3(s.stream, &status, &id, &graph, nullptr, &edges, &count) ==
        CUDA_ERROR_INVALID_VALUE);
  CUgraphNode node = nodes[0];
  CUDA_OK(cuStreamEndCapture(s.stream, &ended));
  CHECK(ended == graph);
  CUgraphNodeType type{};
  CUDA_OK(cuGraphNodeGetType(node, &type));
  CHECK(type == CU_GRAPH_NODE_TYPE_MEMSET);
  CUDA_OK(cuGraphDestroy(graph));
  CHECK(cuGraphNodeGetType(node, &type) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a program is told of the rows it gave") {
  Session s;
  CUdeviceptr words = s.allocate(1024);
  std::vector<char> host(2048);
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = host.data();
  copy.srcPitch = 512;
  copy.srcXInBytes = 8;
  copy.srcY = 1;
  copy.srcHeight = 5;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = words;
  copy.dstPitch = copy.WidthInBytes = 256;
  copy.dstHeight = copy.Height = 2;
  copy.Depth = 1;
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  CUgraphNode node = nullptr;
  CUDA_OK(cuGraphAddMemcpyNode(&node, s.graph, nullptr, 0, &copy, context));
  CUDA_MEMCPY3D told{};
  CUDA_OK(cuGraphMemcpyNodeGetParams(node, &told));
  CHECK(told.srcHost == host.data());
  CHECK(told.srcPitch == 512);
  CHECK(told.srcXInBytes == 8);
  CHECK(told.srcY == 1);
  CHECK(told.srcHeight == 5);
}

TEST_CASE("what a node of a copied graph copied is not copied when it copies something else") {
  Session s;
  CUdeviceptr word = s.allocate(4);
  CUDA_OK(cuMemsetD32_v2(word, 7, 1));
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  int old_place = 1, new_place = 1;
  CUgraphNode original = s.copy(word, &old_place, false);
  CUgraph clone = nullptr, outer = nullptr, inner = nullptr;
  CUDA_OK(cuGraphClone(&clone, s.graph));
  CUDA_OK(cuGraphCreate(&outer, 0));
  CUgraphNode child = nullptr, node = nullptr;
  CUDA_OK(cuGraphAddChildGraphNode(&child, outer, nullptr, 0, s.graph));
  CUDA_OK(cuGraphChildGraphNodeGetGraph(child, &inner));
  for (CUgraph copied : {clone, inner}) {
    CUDA_OK(cuGraphNodeFindInClone(&node, original, copied));
    CUDA_MEMCPY3D copy{};
    CUDA_OK(cuGraphMemcpyNodeGetParams(node, &copy));
    CHECK(copy.dstHost == &old_place);
    copy.dstHost = &new_place;
    if (copied == inner) CUDA_OK(cuGraphMemcpyNodeSetParams(node, &copy));
    CUgraphExec exec = nullptr;
    CUDA_OK(cuGraphInstantiateWithFlags(&exec, copied == inner ? outer : clone, 0));
    if (copied == clone) CUDA_OK(cuGraphExecMemcpyNodeSetParams(exec, node, &copy, context));
    old_place = new_place = 1;
    CUDA_OK(cuGraphLaunch(exec, s.stream));
    CUDA_OK(cuStreamSynchronize(s.stream));
    CHECK(old_place == 1);
    CHECK(new_place == 7);
  }
}

TEST_CASE("a graph that outlives its context takes nobody's memory along") {
  Session s;
  CUdeviceptr word = s.allocate(4);
  int in = 5;
  s.copy(word, &in, true);
  CUgraphExec exec = s.make();
  CUDA_OK(cuGraphLaunch(exec, s.stream));
  CUDA_OK(cuStreamSynchronize(s.stream));
  CUDA_OK(cuDevicePrimaryCtxReset_v2(0));
  s.world.use_device();
  std::vector<CUdeviceptr> blocks(8);  // one where the graph's was
  for (CUdeviceptr& block : blocks) block = s.allocate(4);
  cuGraphExecDestroy(exec);
  cuGraphDestroy(s.graph);
  (void)cuCtxSynchronize();  // of what has ended with the context
  for (CUdeviceptr block : blocks) CUDA_OK(cuMemsetD32_v2(block, 1, 1));
  CUDA_OK(cuCtxSynchronize());
  CUgraph again = nullptr;
  CUDA_OK(cuGraphCreate(&again, 0));
  s.graph = again;
  s.copy(blocks[0], &in, true);
  CUDA_OK(cuStreamCreate(&s.stream, CU_STREAM_NON_BLOCKING));
  CUDA_OK(cuGraphLaunch(s.make(), s.stream));
  CUDA_OK(cuStreamSynchronize(s.stream));
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("two threads may ask about one capture") {
  Session s;
  CUdeviceptr word = s.allocate(64);
  CUDA_OK(cuStreamBeginCapture_v2(s.stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  CUgraphNode fills[12] = {};
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  for (CUgraphNode& fill : fills) {
    CUDA_MEMSET_NODE_PARAMS params{word, 4, 9, 4, 1, 1};
    CUgraph graph = nullptr;
    CUstreamCaptureStatus status{};
    CUDA_OK(cuStreamGetCaptureInfo_v2(s.stream, &status, nullptr, &graph, nullptr, nullptr));
    CUDA_OK(cuGraphAddMemsetNode(&fill, graph, nullptr, 0, &params, context));
  }
  CUDA_OK(
      cuStreamUpdateCaptureDependencies(s.stream, fills, 12, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
  std::atomic<int> wrong{0};
  auto ask = [&] {
    cuCtxSetCurrent(context);
    for (int i = 0; i < 2000; ++i) {
      CUstreamCaptureStatus status{};
      const CUgraphNode* nodes = nullptr;
      std::size_t count = 0;
      CUresult asked =
          cuStreamGetCaptureInfo_v2(s.stream, &status, nullptr, nullptr, &nodes, &count);
      wrong += asked != CUDA_SUCCESS || count != 12 ? 1 : 0;
      wrong += status != CU_STREAM_CAPTURE_STATUS_ACTIVE ? 1 : 0;
    }
  };
  std::thread other(ask);
  ask();
  other.join();
  CHECK(wrong == 0);
  CUgraph graph = nullptr;
  CUDA_OK(cuStreamEndCapture(s.stream, &graph));
}

TEST_CASE("what one asker is told of a capture is not taken away by the next") {
  GraphKept all;
  CaptureInfo told;
  told.status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
  told.nodes.assign(100, nullptr);
  const auto first = all.keep({nullptr, nullptr, 1}, told);
  const auto second = all.keep({nullptr, nullptr, 1}, {});
  all.drop(CUstream{nullptr});
  CHECK(first->status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  CHECK(first->nodes.size() == 100);
  CHECK(second->nodes.empty());
}

TEST_CASE("a user object ends in this process, after the last graph that holds it") {
  Session s;
  std::atomic<int> ended{0};
  auto end = [](void* data) {
    auto& count = *static_cast<std::atomic<int>*>(data);
    count.fetch_add(1);
    count.notify_all();
  };
  CUuserObject object = nullptr;
  CUDA_OK(cuUserObjectCreate(&object, &ended, end, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
  CUDA_OK(cuGraphRetainUserObject(s.graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
  CUgraphExec exec = s.make();
  CUDA_OK(cuGraphDestroy(s.graph));
  CUDA_OK(cuCtxSynchronize());
  CHECK(ended == 0);
  CUDA_OK(cuGraphExecDestroy(exec));
  CUDA_OK(cuCtxSynchronize());
  ended.wait(0);
  CHECK(ended == 1);
}

}  // namespace farcall::shim
#endif  // FARCALL_TEST_SOFTWARE_GPU
