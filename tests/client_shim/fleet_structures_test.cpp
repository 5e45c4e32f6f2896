// A program with two servers: what structures and plain numbers name.
#include "tests/client_shim/two_servers.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

constexpr std::size_t kWidth = 3000, kRows = 2000;  // more than one piece through the client

CUDA_MEMCPY2D rows(CUmemorytype from, CUmemorytype to) {
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = from;
  copy.dstMemoryType = to;
  copy.WidthInBytes = kWidth;
  copy.Height = kRows;
  return copy;
}

CUmemAllocationProp on_device(int device) {
  CUmemAllocationProp wanted{};
  wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  wanted.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  return wanted;
}

}  // namespace

TEST_CASE("a copy with a shape goes to who has its ends, and between two servers in pieces") {
  TwoServers two;
  two.use_devices();
  const CUdeviceptr on_a = two.allocate(two.of_a, 4096 * kRows);
  const CUdeviceptr on_b = two.allocate(two.of_b, 3500 * (kRows + 1));
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  std::vector<char> out(kWidth * kRows), back(kWidth * kRows);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i * 37 >> 5);

  CUDA_MEMCPY2D copy = rows(CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_DEVICE);
  copy.srcHost = out.data();
  copy.dstDevice = on_a;
  copy.dstPitch = 4096;
  CUDA_OK(cuMemcpy2D_v2(&copy));  // although the other's context is current

  copy = rows(CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_UNIFIED);
  copy.srcDevice = on_a;
  copy.srcPitch = 4096;
  copy.dstDevice = on_b;
  copy.dstPitch = 3500;
  copy.dstXInBytes = 11;
  copy.dstY = 1;
  CUstream stream = nullptr;
  SUBCASE("at once") { CUDA_OK(cuMemcpy2D_v2(&copy)); }
  SUBCASE("in a stream of the receiver") {
    CUDA_OK(cuStreamCreate(&stream, 0));
    CUDA_OK(cuMemcpy2DAsync_v2(&copy, stream));
    CHECK(B::count("stream") >= 2);  // what was in it came first, and the copy is done
  }
  SUBCASE("in a stream of the sender") {
    CUDA_OK(cuCtxSetCurrent(two.of_a));
    CUDA_OK(cuStreamCreate(&stream, 0));
    CUDA_OK(cuMemcpy2DAsync_v2(&copy, stream));
    CHECK(A::count("stream") >= 1);
  }
  CHECK(A::count("box") > 1);
  CHECK(B::count("box") > 1);

  copy.dstY = 2;  // the last row would be past the end: nothing of it is written
  CHECK(cuMemcpy2D_v2(&copy) == CUDA_ERROR_INVALID_VALUE);

  copy = rows(CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST);
  copy.srcDevice = on_b;
  copy.srcPitch = 3500;
  copy.srcXInBytes = 11;
  copy.srcY = 1;
  copy.dstHost = back.data();
  CUDA_OK(cuMemcpy2D_v2(&copy));
  CHECK(back == out);
}

TEST_CASE("rows without number between two servers are refused") {
  TwoServers two;
  two.use_devices();
  CUDA_MEMCPY2D copy = rows(CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_DEVICE);
  copy.srcDevice = two.allocate(two.of_a, 4096);
  copy.dstDevice = two.allocate(two.of_b, 4096);
  copy.WidthInBytes = copy.srcPitch = copy.dstPitch = copy.Height = std::size_t{1} << 32;
  CHECK(cuMemcpy2D_v2(&copy) == CUDA_ERROR_INVALID_VALUE);  // 2^64 bytes, which would be none
}

TEST_CASE("a node of a graph names nothing of another server") {
  TwoServers two;
  two.use_devices();
  const CUdeviceptr on_a = two.allocate(two.of_a, 256);
  const CUdeviceptr on_b = two.allocate(two.of_b, 256);
  CUDA_OK(cuCtxSetCurrent(two.of_a));
  CUgraph graph = nullptr;
  CUDA_OK(cuGraphCreate(&graph, 0));
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  CUgraphNode node = nullptr;
  CUDA_MEMSET_NODE_PARAMS fill{};
  fill.dst = on_a;
  fill.elementSize = 1;
  fill.width = 16;
  fill.height = 1;
  CUDA_OK(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &fill, two.of_a));
  CHECK(A::count("fill node") == 1);
  fill.dst = on_b;
  CHECK(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &fill, two.of_a) ==
        CUDA_ERROR_INVALID_VALUE);
  fill.dst = on_a;
  CHECK(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &fill, two.of_b) ==
        CUDA_ERROR_INVALID_HANDLE);
  CHECK(A::count("fill node") + B::count("fill node") == 1);
}

TEST_CASE("what stands for host memory in a graph lies apart from another server's memory") {
  TwoServers two(0x10'0000'0000);  // the same address space as the first one's
  two.use_devices();
  const CUdeviceptr on_b = two.allocate(two.of_b, 256);
  const CUdeviceptr on_a = two.allocate(two.of_a, 256);
  REQUIRE(on_a == on_b + 256);
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  CUgraph graph = nullptr;
  CUDA_OK(cuGraphCreate(&graph, 0));
  char host[256] = {};
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = host;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = on_b;
  copy.WidthInBytes = sizeof host;
  copy.Height = copy.Depth = 1;
  CUgraphNode node = nullptr;
  CUDA_OK(cuGraphAddMemcpyNode(&node, graph, nullptr, 0, &copy, two.of_b));
  CHECK(B::count("alloc") == 3);  // the second lies where the first server's block is
  CUDA_OK(cuMemFree_v2(on_a));
}

TEST_CASE("virtual memory stays with the server whose device it is on") {
  TwoServers two;
  two.use_devices();
  const CUmemAllocationProp here = on_device(0), there = on_device(1);
  CUmemGenericAllocationHandle of_a = 0, of_b = 0;
  CUDA_OK(cuMemCreate(&of_a, 4096, &here, 0));
  CUDA_OK(cuMemCreate(&of_b, 4096, &there, 0));
  CHECK(of_a != of_b);
  CHECK(B::count("create") == 1);
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  CUdeviceptr range = 0;
  CUDA_OK(cuMemAddressReserve(&range, 4096, 0, 0, 0));
  CUDA_OK(cuCtxSetCurrent(two.of_a));
  CHECK(cuMemMap(range, 4096, 0, of_a, 0) == CUDA_ERROR_NOT_SUPPORTED);
  CUDA_OK(cuMemMap(range, 4096, 0, of_b, 0));
  CUmemAccessDesc access{here.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  CHECK(cuMemSetAccess(range, 4096, &access, 1) == CUDA_ERROR_INVALID_DEVICE);
  access.location = there.location;
  CUDA_OK(cuMemSetAccess(range, 4096, &access, 1));
  CHECK(A::count("map") + A::count("access") == 0);
  CUDA_OK(cuMemRelease(of_b));
  CUDA_OK(cuMemRelease(of_a));
  CHECK(A::count("release memory") == 1);
  CHECK(B::count("release memory") == 1);
}

TEST_CASE("a range that one server has reserved is not taken from another") {
  TwoServers two(0x10'0000'0000);  // the same address space as the first one's
  two.use_devices();
  CUdeviceptr first = 0, second = 0;
  CUDA_OK(cuMemAddressReserve(&first, 1 << 20, 0, 0, 0));
  CUdeviceptr on_b = two.allocate(two.of_b, 512 << 10);  // it lies in what the first one reserved
  CHECK(on_b >= first + (1 << 20));
  CUDA_OK(cuMemAddressReserve(&second, 1 << 20, 0, 0, 0));
  CHECK(second >= on_b);
  CHECK(B::count("free") + B::count("free range") == 2);
}

TEST_CASE("a texture object belongs to whose memory it reads, though both count alike") {
  TwoServers two;
  two.use_devices();
  CUDA_RESOURCE_DESC resource{};
  resource.resType = CU_RESOURCE_TYPE_LINEAR;
  resource.res.linear.devPtr = two.allocate(two.of_b, 256);
  resource.res.linear.sizeInBytes = 256;
  const CUDA_TEXTURE_DESC texture{};
  CUtexObject object = 0;
  CUDA_OK(cuCtxSetCurrent(two.of_a));
  CUDA_OK(cuTexObjectCreate(&object, &resource, &texture, nullptr));
  CHECK(B::count("texture") == 1);
  CUtexObject other = 0;
  resource.res.linear.devPtr = two.allocate(two.of_a, 256);
  CUDA_OK(cuTexObjectCreate(&other, &resource, &texture, nullptr));
  CHECK(other == object);
  CUDA_OK(cuTexObjectDestroy(object));  // the current one's
  CUDA_OK(cuTexObjectDestroy(object));
  CUDA_OK(cuCtxSynchronize());
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  CUDA_OK(cuCtxSynchronize());
  CHECK(A::count("end of texture") == 1);
  CHECK(B::count("end of texture") == 1);
}
