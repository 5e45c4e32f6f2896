// What captures forbid through a session, on the software GPU: by thread, by mode, and how the
// server comes to know of it.
#ifdef FARCALL_TEST_SOFTWARE_GPU
#  include <thread>
#  include <vector>

#  include "client_shim/captures.h"
#  include "gpu_server/driver_library.h"
#  include "tests/client_shim/world.h"

namespace farcall::shim {
namespace {

struct SoftwareGpu {
  api::Driver table() {
    static const auto library = server::DriverLibrary::open(FARCALL_TEST_SOFTWARE_GPU);
    REQUIRE(library.ok());
    return library.value()->driver();
  }
};

struct Session {
  SoftwareGpu device;
  World world{device};
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUdeviceptr word = 0;
  Session() {
    world.use_device();
    CUDA_OK(cuCtxGetCurrent(&context));
    CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_OK(cuMemAlloc_v2(&word, 4));
  }
  void begin(CUstreamCaptureMode mode) { CUDA_OK(cuStreamBeginCapture_v2(stream, mode)); }
  CUresult end() {
    CUgraph graph = nullptr;
    CUresult ended = cuStreamEndCapture(stream, &graph);
    CHECK((graph != nullptr) == (ended == CUDA_SUCCESS));
    if (graph != nullptr) CUDA_OK(cuGraphDestroy(graph));
    return ended;
  }
  template <class Body>
  void elsewhere(const Body& body) {
    std::thread([&] {
      CHECK(cuCtxSetCurrent(context) == CUDA_SUCCESS);
      body();
    }).join();
  }
};

constexpr auto kGlobal = CU_STREAM_CAPTURE_MODE_GLOBAL;
constexpr auto kThreadLocal = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
constexpr auto kRelaxed = CU_STREAM_CAPTURE_MODE_RELAXED;

}  // namespace

TEST_CASE("a capture forbids its thread what it cannot see, and is spoilt by it") {
  Session s;
  CUdeviceptr more = 0;
  for (auto mode : {kGlobal, kThreadLocal}) {
    s.begin(mode);
    CHECK(cuMemAlloc_v2(&more, 64) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    CUstreamCaptureStatus status{};
    CUDA_OK(cuStreamIsCapturing(s.stream, &status));
    CHECK(status == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    CHECK(s.end() == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CUDA_OK(cuMemAlloc_v2(&more, 64));
  }
  s.begin(kRelaxed);
  CUDA_OK(cuMemAlloc_v2(&more, 64));
  CHECK(s.end() == CUDA_SUCCESS);
}

TEST_CASE("a global capture forbids it to other threads, unless their mode says otherwise") {
  Session s;
  s.begin(kGlobal);
  s.elsewhere([&] {
    CUdeviceptr more = 0;
    CUstreamCaptureMode mode = kThreadLocal;
    CHECK(cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS);
    CHECK(cuMemAlloc_v2(&more, 64) == CUDA_SUCCESS);
  });
  CHECK(s.end() == CUDA_SUCCESS);
  s.begin(kGlobal);
  s.elsewhere([&] {
    CUdeviceptr more = 0;
    CHECK(cuMemAlloc_v2(&more, 64) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  });
  CHECK(s.end() == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  s.begin(kThreadLocal);
  s.elsewhere([&] {
    CUdeviceptr more = 0;
    CHECK(cuMemAlloc_v2(&more, 64) == CUDA_SUCCESS);
  });
  CHECK(s.end() == CUDA_SUCCESS);
}

TEST_CASE("a thread's own stream is spoilt by another thread, too") {
  Session s;
  s.stream = CU_STREAM_PER_THREAD;
  s.begin(kGlobal);
  s.elsewhere([&] {
    CUdeviceptr more = 0;
    CHECK(cuMemAlloc_v2(&more, 64) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  });
  CHECK(s.end() == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  s.begin(kGlobal);
  CHECK(s.end() == CUDA_SUCCESS);
}

TEST_CASE("only the thread that began a capture ends it, unless it is relaxed") {
  Session s;
  s.begin(kThreadLocal);
  s.elsewhere([&] { CHECK(s.end() == CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD); });
  CHECK(s.end() == CUDA_SUCCESS);
  s.begin(kRelaxed);
  s.elsewhere([&] { CHECK(s.end() == CUDA_SUCCESS); });
  CHECK_FALSE(current_client()->captures().any());
}

TEST_CASE("what ends with its stream or context forbids nothing any more") {
  Session s;
  CUdeviceptr more = 0;
  s.begin(kGlobal);
  CUDA_OK(cuStreamDestroy_v2(s.stream));
  CUDA_OK(cuMemAlloc_v2(&more, 64));
  CUDA_OK(cuStreamCreate(&s.stream, CU_STREAM_NON_BLOCKING));
  s.begin(kGlobal);
  CUDA_OK(cuDevicePrimaryCtxReset_v2(0));
  CHECK_FALSE(current_client()->captures().any());
  s.world.use_device();
  CUDA_OK(cuMemAlloc_v2(&more, 64));
}

TEST_CASE("ten thousand captured calls are posted, and their lists are whole") {
  Session s;
  constexpr std::size_t kNodes = 10000;
  s.begin(kThreadLocal);
  CHECK(s.world.round_trips([&] {
    for (std::size_t i = 0; i < kNodes; ++i) CUDA_OK(cuMemsetD8Async(s.word, 1, 4, s.stream));
  }) == 0);
  CUgraph graph = nullptr;
  CUDA_OK(cuStreamEndCapture(s.stream, &graph));
  std::vector<CUgraphNode> nodes(kNodes + 1), from(kNodes), to(kNodes);
  std::size_t count = nodes.size();
  CHECK(s.world.round_trips([&] { CUDA_OK(cuGraphGetNodes(graph, nodes.data(), &count)); }) == 10);
  CHECK(count == kNodes);
  CHECK(nodes[kNodes] == nullptr);
  count = kNodes;
  CUDA_OK(cuGraphGetEdges(graph, from.data(), to.data(), &count));
  CHECK(count == kNodes - 1);
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(from[i] == nodes[i]);
    REQUIRE(to[i] == nodes[i + 1]);
  }
}

TEST_CASE("a memory node tells who may touch its memory") {
  Session s;
  CUgraph graph = nullptr;
  CUDA_OK(cuGraphCreate(&graph, 0));
  CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, {0}}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  CUDA_MEM_ALLOC_NODE_PARAMS params{};
  params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  params.poolProps.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  params.accessDescs = &access;
  params.accessDescCount = 1;
  params.bytesize = 64;
  CUgraphNode node = nullptr;
  CUDA_OK(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &params));
  CUDA_MEM_ALLOC_NODE_PARAMS told{};
  CUDA_OK(cuGraphMemAllocNodeGetParams(node, &told));
  REQUIRE(told.accessDescCount == 1);
  CHECK(told.accessDescs[0].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  CHECK(told.dptr == params.dptr);
  CUDA_OK(cuGraphDestroy(graph));
}

TEST_CASE("a graph for launches from the device is refused") {
  Session s;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUDA_OK(cuGraphCreate(&graph, 0));
  CHECK(cuGraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) ==
        CUDA_ERROR_NOT_SUPPORTED);
  CUDA_GRAPH_INSTANTIATE_PARAMS params{};
  params.flags = CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH;
  CHECK(cuGraphInstantiateWithParams(&exec, graph, &params) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(params.result_out == CUDA_GRAPH_INSTANTIATE_ERROR);
}

}  // namespace farcall::shim
#endif
