// A program with two servers: each call goes to the one it is for.
#include "client_shim/look.h"
#include "tests/client_shim/two_servers.h"

using namespace farcall;
using namespace farcall::shim;

TEST_CASE("the devices of two servers are those of one program") {
  TwoServers two;
  CUDA_OK(cuInit(0));
  int count = 0, version = 0;
  CUDA_OK(cuDeviceGetCount(&count));
  CHECK(count == 2);
  CUDA_OK(cuDriverGetVersion(&version));
  CHECK(version == 12999);  // the older one
  for (int device = 0; device < 2; ++device) {
    char name[32], bus_id[32];
    int found = -1;
    CUDA_OK(cuDeviceGetName(name, sizeof name, device));
    CHECK(std::string(name) == "small " + std::to_string(device));
    // Both drivers say the same address; the program can tell its devices by it all the same.
    CUDA_OK(cuDeviceGetPCIBusId(bus_id, sizeof bus_id, device));
    CUDA_OK(cuDeviceGetByPCIBusId(&found, bus_id));
    CHECK(found == device);
  }
  CHECK(cuDeviceGet(&count, 2) == CUDA_ERROR_INVALID_DEVICE);
  Look seen;
  REQUIRE(look_table().look(&seen, sizeof seen) == CUDA_SUCCESS);
  CHECK(seen.device_count == 2);
  CHECK(std::string(seen.server) == "a:1,b:1");
}

TEST_CASE("CUDA_VISIBLE_DEVICES counts the devices of all servers") {
  Settings settings;
  settings.visible_devices = "1";
  TwoServers two(0x20'0000'0000, settings);
  CUDA_OK(cuInit(0));
  int count = 0;
  CUDA_OK(cuDeviceGetCount(&count));
  CHECK(count == 1);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  CUDA_OK(cuCtxSetCurrent(context));
  CUDA_OK(cuCtxSynchronize());
  CHECK(A::count("retain") == 0);
  CHECK(B::count("retain") == 1);
}

TEST_CASE("a call goes to the server of what it names, else of the current context") {
  TwoServers two;
  two.use_devices();
  CUdeviceptr on_a = two.allocate(two.of_a, 256);
  CUdeviceptr on_b = two.allocate(two.of_b, 256);
  CHECK(A::count("alloc") == 1);
  CHECK(B::count("alloc") == 1);
  CUstream stream_b = nullptr;
  CUevent event_b = nullptr;
  CUDA_OK(cuStreamCreate(&stream_b, 0));
  CUDA_OK(cuEventCreate(&event_b, 0));
  CHECK(api::server_of(reinterpret_cast<std::uint64_t>(stream_b)) == 1);
  int device = -1;
  CUDA_OK(cuCtxGetDevice(&device));
  CHECK(device == 1);

  CUDA_OK(cuCtxSetCurrent(two.of_a));
  CUcontext current = nullptr;
  CUDA_OK(cuCtxGetCurrent(&current));
  CHECK(current == two.of_a);
  CUDA_OK(cuMemsetD8_v2(on_b, 7, 256));
  CUDA_OK(cuEventRecord(event_b, stream_b));
  CUDA_OK(cuStreamSynchronize(stream_b));
  CHECK(B::count("fill") == 1);
  CHECK(B::count("record") == 1);
  CHECK(B::count("stream") == 1);
  char bytes[256] = "";
  CUDA_OK(cuMemcpyDtoH_v2(bytes, on_b, sizeof bytes));
  CHECK(bytes[255] == 7);
  CUDA_OK(cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, on_b + 8));
  CHECK(device == 1);
  CUDA_OK(cuMemFree_v2(on_b));
  CUDA_OK(cuMemFree_v2(on_a));
  CUDA_OK(cuCtxSynchronize());
  CHECK(A::count("free") == 1);
  CHECK(A::count("synchronize") == 1);
  CHECK(B::count("synchronize") == 0);
}

TEST_CASE("contexts of two servers share one stack") {
  TwoServers two;
  two.use_devices();
  CUDA_OK(cuCtxPushCurrent_v2(two.of_b));
  int device = -1;
  CUDA_OK(cuCtxGetDevice(&device));
  CHECK(device == 1);
  CUcontext popped = nullptr;
  CUDA_OK(cuCtxPopCurrent_v2(&popped));
  CHECK(popped == two.of_b);
  CUDA_OK(cuCtxGetDevice(&device));
  CHECK(device == 0);
  CUDA_OK(cuCtxPopCurrent_v2(&popped));
  CHECK(cuCtxPopCurrent_v2(&popped) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxGetDevice(&device) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxSetCurrent(reinterpret_cast<CUcontext>(0x1234'5678)) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("an address that one server has handed out is not taken from another") {
  TwoServers two(0x10'0000'0000);  // the same address space as the first one's
  two.use_devices();
  CUdeviceptr on_a = two.allocate(two.of_a, 1000);
  CUdeviceptr on_b = two.allocate(two.of_b, 256);
  CHECK(on_a == A::base);
  CHECK(on_b == B::base + 1024);
  CHECK(B::count("alloc") == 5);
  CUDA_OK(cuCtxSynchronize());
  CHECK(B::count("free") == 4);  // what lay over the other's memory was given back
  // The same the other way round.
  CUdeviceptr again = two.allocate(two.of_a, 300);
  CHECK(again == A::base + 1536);
  CUDA_OK(cuCtxSynchronize());
  CHECK(A::count("free") == 1);
}

TEST_CASE("a server with nothing but addresses of another is out of memory") {
  TwoServers two(0x10'0000'0000);
  two.use_devices();
  two.allocate(two.of_a, 16 << 20);
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  CUdeviceptr at = 0;
  CHECK(cuMemAlloc_v2(&at, 256) == CUDA_ERROR_OUT_OF_MEMORY);
  CUDA_OK(cuCtxSynchronize());
  CHECK(B::count("alloc") == limits::kAddressTriesMax);
  CHECK(B::count("free") == limits::kAddressTriesMax);
}

TEST_CASE("copies between two servers pass through the program") {
  TwoServers two;
  two.use_devices();
  constexpr std::size_t kBytes = (9 << 20) + 5;
  CUdeviceptr on_a = two.allocate(two.of_a, kBytes);
  CUdeviceptr on_b = two.allocate(two.of_b, kBytes);
  std::vector<char> out(kBytes), back(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) out[i] = static_cast<char>(i * 131 >> 3);
  CUDA_OK(cuMemcpyHtoD_v2(on_a, out.data(), kBytes));
  SUBCASE("by cuMemcpyDtoD") { CUDA_OK(cuMemcpyDtoD_v2(on_b, on_a, kBytes)); }
  SUBCASE("by cuMemcpy") { CUDA_OK(cuMemcpy(on_b, on_a, kBytes)); }
  SUBCASE("by cuMemcpyPeer") { CUDA_OK(cuMemcpyPeer(on_b, two.of_b, on_a, two.of_a, kBytes)); }
  SUBCASE("by cuMemcpyAsync") {
    CUstream stream = nullptr;
    CUDA_OK(cuStreamCreate(&stream, 0));
    CUDA_OK(cuMemcpyAsync(on_b, on_a, kBytes, stream));
    CHECK(B::count("stream") >= 1);  // what was in it came first
  }
  CUDA_OK(cuMemcpyDtoH_v2(back.data(), on_b, kBytes));
  CHECK(back == out);
  CHECK(A::count("copy") + B::count("copy") == 0);
  CHECK(cuMemcpyDtoD_v2(on_b + 1, on_a, kBytes) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a stream waits for an event of another server") {
  TwoServers two;
  two.use_devices();
  CUevent event_a = nullptr;
  CUstream stream_b = nullptr;
  CUDA_OK(cuEventCreate(&event_a, 0));
  CUDA_OK(cuEventRecord(event_a, nullptr));
  CUDA_OK(cuCtxSetCurrent(two.of_b));
  CUDA_OK(cuStreamCreate(&stream_b, 0));
  CUDA_OK(cuStreamWaitEvent(stream_b, event_a, 0));
  CHECK(A::count("event") == 1);
  CHECK(A::count("wait") + B::count("wait") == 0);
  // No device can do that one.
  CHECK(cuEventRecord(event_a, stream_b) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("devices of two servers cannot reach each other's memory") {
  TwoServers two;
  two.use_devices();
  int can = -1;
  CUDA_OK(cuDeviceCanAccessPeer(&can, 0, 1));
  CHECK(can == 0);
  CUDA_OK(cuDeviceCanAccessPeer(&can, 1, 1));
  CHECK(can == 1);
  CHECK(cuDeviceCanAccessPeer(&can, 0, 2) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuCtxEnablePeerAccess(two.of_b, 0) == CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
  CHECK(A::count("peer access") + B::count("peer access") == 0);
}

TEST_CASE("a server that goes leaves the other's devices alone") {
  TwoServers two;
  two.use_devices();
  CUdeviceptr on_a = two.allocate(two.of_a, 64);
  CUdeviceptr on_b = two.allocate(two.of_b, 64);
  two.b->session->close(Status(Code::kClosed, "cut by the test"));
  CHECK(cuCtxSynchronize() == kLinkLost);
  CHECK(cuMemcpyDtoD_v2(on_a, on_b, 64) == kLinkLost);
  CUDA_OK(cuMemsetD8_v2(on_a, 1, 64));
  CUDA_OK(cuCtxSetCurrent(two.of_a));
  CUDA_OK(cuCtxSynchronize());
  CHECK(A::count("fill") == 1);
  CHECK(A::count("synchronize") == 1);
}

TEST_CASE("all servers must be there, and the one that is not is named") {
  TwoServers two;
  SUBCASE("no link") { two.b->client.reset(); }
  SUBCASE("no driver") { B::refuses = true; }
  CHECK(cuInit(0) == CUDA_ERROR_SYSTEM_NOT_READY);
  CHECK(current_client() == nullptr);
}
