// A driver behind the ledger: what is charged, when, and that the driver is not asked for what the
// lease has no room for.
#include "gpu_server/ledger_driver.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "tests/gpu_server/memory_driver.h"

namespace farcall::server {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

struct Fixture {
  explicit Fixture(std::uint64_t memory_bytes) : ledger(made(memory_bytes)) { driver.retain(); }
  static std::unique_ptr<Ledger> made(std::uint64_t memory_bytes) {
    LeaseLimits limits;
    limits.memory_bytes = memory_bytes;
    limits.image_bytes_max = 1000;
    auto ledger = Ledger::create(limits);
    REQUIRE(ledger.ok());
    return std::move(ledger).value();
  }
  std::uint64_t held(int device = 0) { return ledger->held({Account::kMemory, device}); }
  std::uint64_t images() { return ledger->held({Account::kImages}); }
  const api::Driver& cuda() { return metered.driver(); }

  MemoryDriver driver;
  api::Driver real = driver.table();
  std::unique_ptr<Ledger> ledger;
  LedgerDriver metered{real, *ledger};
};

TEST_CASE("plain memory is charged before the driver is called and given back on free") {
  Fixture f(100 * kMiB);
  CUdeviceptr a = 0, b = 0;
  CHECK(f.cuda().cuMemAlloc_v2(&a, 60 * kMiB) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);
  const int calls = f.driver.allocations;
  CHECK(f.cuda().cuMemAlloc_v2(&b, 42 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(f.cuda().cuMemAllocManaged(&b, 42 * kMiB, 1) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(f.driver.allocations == calls);  // it was not asked
  CHECK(f.cuda().cuMemAlloc_v2(&b, 40 * kMiB) == CUDA_SUCCESS);
  CHECK(f.cuda().cuMemFree_v2(a) == CUDA_SUCCESS);
  CHECK(f.held() == 40 * kMiB);
  CHECK(f.cuda().cuMemFree_v2(a) == CUDA_ERROR_INVALID_VALUE);  // no second time
  CHECK(f.held() == 40 * kMiB);
  f.driver.fails = true;
  CHECK(f.cuda().cuMemAlloc_v2(&a, kMiB) == CUDA_ERROR_UNKNOWN);
  CHECK(f.held() == 40 * kMiB);  // what the driver refuses is given back
}

TEST_CASE("a free that fails leaves the charge where it is") {
  Fixture f(100 * kMiB);
  CUdeviceptr at = 0;
  REQUIRE(f.cuda().cuMemAlloc_v2(&at, 2 * kMiB) == CUDA_SUCCESS);
  f.driver.fails = true;
  CHECK(f.cuda().cuMemFree_v2(at) == CUDA_ERROR_UNKNOWN);
  CHECK(f.held() == 2 * kMiB);
  f.driver.fails = false;
  CHECK(f.cuda().cuMemFree_v2(at) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
}

TEST_CASE("total and free are the lease's, and all that is free can be had") {
  Fixture f(100 * kMiB);
  std::size_t free = 0, total = 0;
  REQUIRE(f.cuda().cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  CHECK(total == 100 * kMiB);
  CHECK(free == 100 * kMiB);
  REQUIRE(f.cuda().cuDeviceTotalMem_v2(&total, 0) == CUDA_SUCCESS);
  CHECK(total == 100 * kMiB);
  CUdeviceptr at = 0;
  CHECK(f.cuda().cuMemAlloc_v2(&at, 1) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  CHECK(free == 100 * kMiB - 512);
  CHECK(f.cuda().cuMemFree_v2(at) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  CHECK(f.cuda().cuMemAlloc_v2(&at, free) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  CHECK(free == 0);
}

TEST_CASE("without a limit the driver's own figures are told") {
  Fixture f(kNoLimit);
  std::size_t free = 0, total = 0;
  REQUIRE(f.cuda().cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  CHECK(total == MemoryDriver::kTotalBytes);
  CHECK(free == MemoryDriver::kTotalBytes);
}

TEST_CASE("a pitch is charged for as the driver chose it") {
  Fixture f(100 * kMiB);
  CUdeviceptr at = 0;
  std::size_t pitch = 0;
  REQUIRE(f.cuda().cuMemAllocPitch_v2(&at, &pitch, 100, 1000, 4) == CUDA_SUCCESS);
  CHECK(f.held() == charged_bytes(pitch * 1000));
  CHECK(f.cuda().cuMemFree_v2(at) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
  CHECK(f.cuda().cuMemAllocPitch_v2(&at, &pitch, SIZE_MAX, SIZE_MAX, 4) ==
        CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("arrays and mipmaps are charged by their texels") {
  Fixture f(8 * kMiB);
  CUDA_ARRAY3D_DESCRIPTOR about{};
  about.Width = 1024;
  about.Height = 1024;
  about.Format = CU_AD_FORMAT_FLOAT;
  about.NumChannels = 1;
  CUarray array = nullptr;
  REQUIRE(f.cuda().cuArray3DCreate_v2(&array, &about) == CUDA_SUCCESS);
  CHECK(f.held() == 4 * kMiB);
  CUmipmappedArray levels = nullptr;
  CHECK(f.cuda().cuMipmappedArrayCreate(&levels, &about, 11) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(f.cuda().cuArrayDestroy(array) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMipmappedArrayCreate(&levels, &about, 11) == CUDA_SUCCESS);
  CHECK(f.held() > 5 * kMiB);
  CHECK(f.cuda().cuMipmappedArrayDestroy(levels) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
  about.Depth = SIZE_MAX;
  CHECK(f.cuda().cuArray3DCreate_v2(&array, &about) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("a pool is charged for what it holds on to, not for what was handed out") {
  Fixture f(100 * kMiB);
  CUdeviceptr a = 0, b = 0;
  f.driver.pool_keeps = true;
  REQUIRE(f.cuda().cuMemAllocAsync(&a, 60 * kMiB, nullptr) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);
  REQUIRE(f.cuda().cuMemFreeAsync(a, nullptr) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);  // freed, and still the pool's
  CHECK(f.cuda().cuMemAlloc_v2(&b, 60 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
  f.driver.pool_keeps = false;
  f.driver.trim_pool();
  CHECK(f.cuda().cuMemAlloc_v2(&b, 60 * kMiB) == CUDA_SUCCESS);  // asked again before refusing
  CHECK(f.held() == 60 * kMiB);
  CHECK(f.cuda().cuMemAllocAsync(&a, 50 * kMiB, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("memory of a pool that is destroyed stays charged until it is freed") {
  Fixture f(100 * kMiB);
  CUmemoryPool pool = nullptr;
  CUdeviceptr at = 0;
  REQUIRE(f.cuda().cuMemPoolCreate(&pool, nullptr) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemAllocFromPoolAsync(&at, 60 * kMiB, pool, nullptr) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemPoolDestroy(pool) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);
  f.driver.streams_are_busy = true;
  REQUIRE(f.cuda().cuMemFreeAsync(at, nullptr) == CUDA_SUCCESS);
  f.metered.settle(false);
  CHECK(f.held() == 60 * kMiB);  // behind work that still runs
  f.driver.streams_are_busy = false;
  f.metered.settle(false);
  CHECK(f.held() == 0);
}

TEST_CASE("plain memory freed in stream order is charged until the stream has got there") {
  Fixture f(100 * kMiB);
  CUdeviceptr a = 0, b = 0;
  REQUIRE(f.cuda().cuMemAlloc_v2(&a, 60 * kMiB) == CUDA_SUCCESS);
  f.driver.streams_are_busy = true;
  REQUIRE(f.cuda().cuMemFreeAsync(a, nullptr) == CUDA_SUCCESS);
  CHECK(f.cuda().cuMemAlloc_v2(&b, 60 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
  f.driver.streams_are_busy = false;
  CHECK(f.cuda().cuMemAlloc_v2(&b, 60 * kMiB) == CUDA_SUCCESS);
}

TEST_CASE("memory of virtual addresses is charged while a handle or a mapping has it") {
  Fixture f(100 * kMiB);
  CUmemAllocationProp about{};
  about.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  about.location.id = 1;
  CUmemGenericAllocationHandle handle = 0, again = 0;
  REQUIRE(f.cuda().cuMemCreate(&handle, 60 * kMiB, &about, 0) == CUDA_SUCCESS);
  CHECK(f.held(1) == 60 * kMiB);
  CHECK(f.held(0) == 0);
  CHECK(f.cuda().cuMemCreate(&again, 60 * kMiB, &about, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  constexpr CUdeviceptr kAt = 0x7000'0000'0000;
  REQUIRE(f.cuda().cuMemMap(kAt, 60 * kMiB, 0, handle, 0) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(f.held(1) == 60 * kMiB);  // mapped
  f.driver.next_handle = 77;
  REQUIRE(f.cuda().cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(kAt + 5)) ==
          CUDA_SUCCESS);
  REQUIRE(f.cuda().cuMemUnmap(kAt, 60 * kMiB) == CUDA_SUCCESS);
  CHECK(f.held(1) == 60 * kMiB);  // held by the new handle
  REQUIRE(f.cuda().cuMemRelease(again) == CUDA_SUCCESS);
  CHECK(f.held(1) == 0);
}

TEST_CASE("code is charged with the variables it declares, and for its length on the host") {
  Fixture f(100 * kMiB);
  CUmodule module = nullptr;
  const std::string small = ".version 8.0\n.target sm_50\n.global .b8 a[8388608];\n";
  REQUIRE(f.cuda().cuModuleLoadDataEx(&module, small.c_str(), 0, nullptr, nullptr) == CUDA_SUCCESS);
  CHECK(f.held() == charged_bytes(8 * kMiB + small.size()));
  CHECK(f.images() == small.size() + 1);
  const int calls = f.driver.loads;
  const std::string large = ".global .b8 a[104857600];";
  CUlibrary library = nullptr;
  CHECK(f.cuda().cuLibraryLoadData(&library, large.c_str(), nullptr, nullptr, 0, nullptr, nullptr,
                                   0) == CUDA_ERROR_OUT_OF_MEMORY);
  const std::string long_text(1000, ' ');  // and what is loaded makes it too much
  CHECK(f.cuda().cuLibraryLoadData(&library, long_text.c_str(), nullptr, nullptr, 0, nullptr,
                                   nullptr, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(f.driver.loads == calls);
  CHECK(f.cuda().cuModuleUnload(module) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
  CHECK(f.images() == 0);
}

TEST_CASE("a context takes its part, and what was made in it goes with it") {
  Fixture f(2048 * kMiB);
  CUcontext context = nullptr;
  REQUIRE(f.cuda().cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(f.held() == limits::kContextBytes);
  REQUIRE(f.cuda().cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  CHECK(f.held() == limits::kContextBytes);  // the same one
  CUdeviceptr at = 0;
  REQUIRE(f.cuda().cuMemAlloc_v2(&at, 10 * kMiB) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, 100 * kMiB) == CUDA_SUCCESS);
  CHECK(f.held() == limits::kContextBytes + 110 * kMiB);
  REQUIRE(f.cuda().cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, 20 * kMiB) == CUDA_SUCCESS);
  CHECK(f.held() == limits::kContextBytes + 30 * kMiB);
  CHECK(f.cuda().cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, std::size_t{1} << 40) ==
        CUDA_ERROR_OUT_OF_MEMORY);
  REQUIRE(f.cuda().cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  CHECK(f.held() == limits::kContextBytes + 30 * kMiB);
  REQUIRE(f.cuda().cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
}

TEST_CASE("memory nodes are charged by the first launch, and given back by a trim") {
  Fixture f(100 * kMiB);
  auto* graph = reinterpret_cast<CUgraph>(0x10);
  CUgraphNode node = nullptr;
  CUDA_MEM_ALLOC_NODE_PARAMS params{};
  params.bytesize = 60 * kMiB;
  REQUIRE(f.cuda().cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &params) == CUDA_SUCCESS);
  CUgraphExec first = nullptr, second = nullptr;
  REQUIRE(f.cuda().cuGraphInstantiateWithFlags(&first, graph, 0) == CUDA_SUCCESS);
  REQUIRE(f.cuda().cuGraphInstantiateWithFlags(&second, graph, 0) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
  CHECK(f.cuda().cuGraphLaunch(first, nullptr) == CUDA_SUCCESS);
  CHECK(f.cuda().cuGraphLaunch(first, nullptr) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);
  const int launches = f.driver.launches;
  f.driver.graphs_are_busy = true;
  CHECK(f.cuda().cuGraphLaunch(second, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(f.driver.launches == launches);
  f.driver.graphs_are_busy = false;  // then a trim takes what the first has left
  CHECK(f.cuda().cuGraphLaunch(second, nullptr) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);
  CHECK(f.cuda().cuGraphExecDestroy(second) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);  // the device keeps it
  CHECK(f.cuda().cuDeviceGraphMemTrim(0) == CUDA_SUCCESS);
  CHECK(f.held() == 0);
  f.driver.node_bytes = 200 * kMiB;  // could never be launched
  CHECK(f.cuda().cuGraphInstantiateWithFlags(&first, graph, 0) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("an allocation that is captured is charged when its graph is launched") {
  Fixture f(100 * kMiB);
  REQUIRE(f.cuda().cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED) ==
          CUDA_SUCCESS);
  f.driver.capturing = true;
  CUdeviceptr at = 0;
  REQUIRE(f.cuda().cuMemAllocAsync(&at, 60 * kMiB, nullptr) == CUDA_SUCCESS);
  f.driver.capturing = false;
  CHECK(f.held() == 0);
  CUgraphExec exec = nullptr;
  REQUIRE(f.cuda().cuGraphInstantiateWithFlags(&exec, reinterpret_cast<CUgraph>(0x10), 0) ==
          CUDA_SUCCESS);
  f.driver.node_bytes = 60 * kMiB;
  CHECK(f.cuda().cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK(f.held() == 60 * kMiB);
}

}  // namespace
}  // namespace farcall::server
