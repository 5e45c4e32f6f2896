// The exported functions against a real server session over the loopback link.
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>

#include "tests/client_shim/world.h"
#include "tests/support/switched.h"

using namespace farcall;
using namespace farcall::shim;

TEST_CASE("device queries are answered from the snapshot without a round trip") {
  FakeDevice device;
  World world(device);
  CHECK(world.round_trips([] {
    int count = 0;
    CUDA_OK(cuDeviceGetCount(&count));
    CHECK(count == 1);
    char name[64];
    CUDA_OK(cuDeviceGetName(name, sizeof name, 0));
    CHECK(std::string(name) == "Fake device");
    int threads = 0;
    CUDA_OK(cuDeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 0));
    CHECK(threads == FakeDevice::kBlockThreadsMax);
    CHECK(cuDeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 0) ==
          CUDA_ERROR_INVALID_VALUE);
    CUDA_OK(cuDeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 0));
    CHECK(threads == 0);
    CUdevice found = -1;
    CUDA_OK(cuDeviceGetByPCIBusId(&found, "0:3b:0"));
    CHECK(found == 0);
    CHECK(cuDeviceGet(&found, 1) == CUDA_ERROR_INVALID_DEVICE);
  }) == 0);
}

TEST_CASE("the driver version is the server's when that is older than this library") {
  FakeDevice device;
  World world(device);
  int version = 0;
  CUDA_OK(cuDriverGetVersion(&version));
  CHECK(version == 12080);
}

TEST_CASE("a cached row asks once") {
  farcall::Switched all_on("");
  FakeDevice device;
  World world(device);
  int can = 0;
  CHECK(world.round_trips([&] { CUDA_OK(cuDeviceCanAccessPeer(&can, 0, 0)); }) == 1);
  CHECK(world.round_trips([&] { CUDA_OK(cuDeviceCanAccessPeer(&can, 0, 0)); }) == 0);
  CHECK(can == 7);
  CHECK(device.count("cuDeviceCanAccessPeer") == 1);
}

TEST_CASE("copies, fills and frees are posted, and a copy back sees them all") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 1024));
  std::vector<unsigned char> sent(1024), back(1024);
  std::iota(sent.begin(), sent.end(), static_cast<unsigned char>(0));
  CHECK(world.round_trips([&] {
    CUDA_OK(cuMemcpyHtoD_v2(at, sent.data(), sent.size()));
    CUDA_OK(cuMemsetD8_v2(at, 9, 10));
  }) == 0);
  CHECK(world.round_trips([&] { CUDA_OK(cuMemcpyDtoH_v2(back.data(), at, back.size())); }) == 1);
  CHECK(back[9] == 9);
  CHECK(back[10] == 10);
  CHECK(back[1023] == sent[1023]);
  CHECK(world.round_trips([&] { CUDA_OK(cuMemFree_v2(at)); }) == 0);
  CHECK(cuMemFree_v2(at) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a large copy takes the bulk lane both ways") {
  FakeDevice device(16 << 20);
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  constexpr std::size_t kBytes = 5'000'001;
  CUDA_OK(cuMemAlloc_v2(&at, kBytes));
  std::vector<unsigned> sent(kBytes / 4 + 1), back(kBytes / 4 + 1);
  std::iota(sent.begin(), sent.end(), 7U);
  CUDA_OK(cuMemcpyHtoD_v2(at, sent.data(), kBytes));
  CUDA_OK(cuMemcpyDtoH_v2(back.data(), at, kBytes));
  CHECK(std::memcmp(sent.data(), back.data(), kBytes) == 0);
  CHECK(current_client()->session().stats().bulk_bytes_out == kBytes);
}

TEST_CASE("a copy beyond its allocation fails at its own call") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 100));
  char bytes[200] = {};
  CHECK(cuMemcpyHtoD_v2(at, bytes, 101) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyDtoH_v2(bytes, at + 50, 51) == CUDA_ERROR_INVALID_VALUE);
  // Not an address of this session: the driver judges it, and the call waits for that.
  CHECK(cuMemcpyHtoD_v2(0x1234, bytes, 1) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("the unified copy finds the direction by the addresses") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  int here = 42, there = 0, third = 0;
  auto address = [](int& value) { return reinterpret_cast<CUdeviceptr>(&value); };
  CUDA_OK(cuMemcpy(at, address(here), sizeof here));
  CUDA_OK(cuMemcpy(address(there), at, sizeof there));
  CUDA_OK(cuMemcpy(address(third), address(there), sizeof third));
  CHECK(there == 42);
  CHECK(third == 42);
}

TEST_CASE("the failure of a posted call surfaces at the next call that waits, once") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  CUDA_OK(cuMemsetD8_v2(at, 1, 64));
  CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_VALUE);
  // It waited nevertheless: what it reports is not what it was asked for.
  CHECK(device.count("cuCtxSynchronize") == 1);
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("after a kernel's fault every call of its context fails alike, the posted ones too") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  device.fail_memset = CUDA_ERROR_ILLEGAL_ADDRESS;
  CUDA_OK(cuMemsetD8_v2(at, 1, 64));
  CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(cuMemsetD8_v2(at, 1, 64) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(cuMemcpyHtoD_v2(at, &at, 8) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(device.count("cuMemsetD8_v2") == 1);
}

TEST_CASE("a fault of another context's event leaves the current context alone") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  CUcontext other = nullptr;
  CUDA_OK(cuCtxCreate_v2(&other, 0, 0));
  CUevent event = nullptr;
  CUDA_OK(cuEventCreate(&event, 0));
  CUDA_OK(cuCtxPopCurrent_v2(&other));
  device.fail_event = CUDA_ERROR_ILLEGAL_ADDRESS;
  CHECK(cuEventQuery(event) == CUDA_ERROR_ILLEGAL_ADDRESS);
  CUDA_OK(cuMemsetD8_v2(at, 1, 64));
}

TEST_CASE("what is posted is judged by the allocation it is for") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0, other = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  CUDA_OK(cuMemAlloc_v2(&other, 64));
  CHECK(cuMemsetD8_v2(at + 1, 1, 64) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32_v2(at, 1, 17) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD32_v2(at, 1, ~std::size_t{0} / 2) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemsetD16Async(at, 1, 33, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyDtoD_v2(at, other, 65) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemcpyDtoDAsync_v2(other, at + 60, 5, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(world.round_trips([&] { CUDA_OK(cuMemsetD8_v2(at, 1, 64)); }) == 0);
  // An address the session did not hand out is the driver's to judge.
  CHECK(world.round_trips([&] { cuMemsetD8_v2(at + 128 + 512, 1, 64); }) == 1);
}

TEST_CASE("what could not be freed is still known") {
  FakeDevice device;
  World world(device, true);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  device.fail_free = CUDA_ERROR_INVALID_VALUE;
  CHECK(cuMemFree_v2(at) == CUDA_ERROR_INVALID_VALUE);
  std::size_t bytes = 0;
  CHECK(world.round_trips([&] { CUDA_OK(cuMemGetAddressRange_v2(nullptr, &bytes, at)); }) == 0);
  CHECK(bytes == 64);
  device.fail_free = 0;
  CUDA_OK(cuMemFree_v2(at));
}

TEST_CASE("in strict mode a posted call waits for its own failure") {
  FakeDevice device;
  World world(device, true);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  device.fail_memset = CUDA_ERROR_INVALID_VALUE;
  CHECK(world.round_trips([&] { CHECK(cuMemsetD8_v2(at, 1, 64) == CUDA_ERROR_INVALID_VALUE); }) ==
        1);
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("without a context a posted call fails at once") {
  FakeDevice device;
  World world(device);
  device.fail_memset = CUDA_ERROR_INVALID_CONTEXT;
  CHECK(cuMemsetD8_v2(FakeDevice::kBase, 1, 64) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("ids of streams and events are minted here, so that creation waits for nothing") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUstream stream = nullptr;
  CUevent event = nullptr;
  CHECK(world.round_trips([&] {
    CUDA_OK(cuStreamCreate(&stream, 0));
    CUDA_OK(cuEventCreate(&event, 0));
    CUDA_OK(cuEventRecord(event, stream));
  }) == 0);
  CUDA_OK(cuEventQuery(event));
  CUDA_OK(cuStreamSynchronize(stream));
  CHECK(device.count("cuEventRecord") == 1);
}

TEST_CASE("a primary context that cannot be had is told of at the next call that waits") {
  FakeDevice device;
  device.fail_retain = CUDA_ERROR_OUT_OF_MEMORY;
  World world(device);
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  CUDA_OK(cuCtxSetCurrent(context));
  CUdeviceptr memory = 0;
  CHECK(cuMemAlloc_v2(&memory, 64) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(device.count("cuMemAlloc_v2") == 0);
}

TEST_CASE("the primary context is retained on the server once, and released once") {
  FakeDevice device;
  World world(device);
  CUcontext context = nullptr;
  for (int i = 0; i < 2; ++i) {
    CHECK(world.round_trips([&] { CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0)); }) == 0);
  }
  unsigned flags = 1;
  int active = 0;
  CUDA_OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  CHECK(active == 1);
  CHECK(world.round_trips([&] { CUDA_OK(cuDevicePrimaryCtxRelease_v2(0)); }) == 0);
  CUDA_OK(cuDevicePrimaryCtxRelease_v2(0));
  CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(device.count("cuDevicePrimaryCtxRetain") == 1);
  CHECK(device.count("cuDevicePrimaryCtxRelease_v2") == 1);
}

TEST_CASE("the context stack behaves as CUDA's") {
  FakeDevice device;
  World world(device);
  CUcontext made = nullptr, current = nullptr;
  CUdevice ordinal = -1;
  CHECK(cuCtxGetDevice(&ordinal) == CUDA_ERROR_INVALID_CONTEXT);
  CUDA_OK(cuCtxCreate_v2(&made, 0, 0));
  CUDA_OK(cuCtxGetCurrent(&current));
  CHECK(current == made);
  CUDA_OK(cuCtxGetDevice(&ordinal));
  CHECK(ordinal == 0);
  CUDA_OK(cuCtxPopCurrent_v2(&current));
  CHECK(cuCtxPopCurrent_v2(&current) == CUDA_ERROR_INVALID_CONTEXT);
  CUDA_OK(cuCtxPushCurrent_v2(made));
  CHECK(cuCtxSetCurrent(reinterpret_cast<CUcontext>(0x99)) == CUDA_ERROR_INVALID_CONTEXT);
  CUDA_OK(cuCtxDestroy_v2(made));
  CUDA_OK(cuCtxGetCurrent(&current));
  CHECK(current == nullptr);
  CHECK(cuCtxSetCurrent(made) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("host memory knows its flags and its kind") {
  FakeDevice device;
  World world(device);
  world.use_device();
  void* pinned = nullptr;
  CUDA_OK(cuMemHostAlloc(&pinned, 5000, CU_MEMHOSTALLOC_PORTABLE));
  CHECK(reinterpret_cast<std::uintptr_t>(pinned) % 4096 == 0);
  std::memset(pinned, 1, 5000);
  unsigned flags = 0;
  CUDA_OK(cuMemHostGetFlags(&flags, pinned));
  CHECK(flags == (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP));
  unsigned kind = 0;
  CUDA_OK(cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                reinterpret_cast<CUdeviceptr>(pinned) + 100));
  CHECK(kind == CU_MEMORYTYPE_HOST);
  CHECK(cuMemFreeHost(static_cast<char*>(pinned) + 1) == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuMemFreeHost(pinned));
  CHECK(cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                              reinterpret_cast<CUdeviceptr>(pinned)) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("when the link is cut every call fails at once, and so does the next") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, 64));
  world.cut();
  CHECK(cuCtxSynchronize() == kLinkLost);
  CHECK(cuMemAlloc_v2(&at, 64) == kLinkLost);
  CHECK(cuMemsetD8_v2(at, 0, 1) == kLinkLost);
}

TEST_CASE("a server whose driver does not start fails cuInit") {
  FakeDevice device;
  device.refuse_init = true;
  World world(device, World::Unopened{});
  CHECK(cuInit(1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuInit(0) == CUDA_ERROR_SYSTEM_NOT_READY);
  int count = 0;
  CHECK(cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
}

TEST_CASE(
    "the child of a fork has no session until it calls cuInit, and the parent keeps its own") {
  FakeDevice device;
  World world(device);
  world.use_device();
  pid_t child = ::fork();
  if (child == 0) {
    int count = 0;
    CUcontext context = nullptr;
    bool good = cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED &&
                cuCtxGetCurrent(&context) == CUDA_ERROR_NOT_INITIALIZED &&
                cuCtxSynchronize() == CUDA_ERROR_NOT_INITIALIZED &&
                // The one session of this World is used up: the attempt is what matters.
                cuInit(0) == CUDA_ERROR_SYSTEM_NOT_READY;
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("mapped virtual memory is device memory, and a copy may span two mappings") {
  FakeDevice device;
  World world(device);
  world.use_device();
  constexpr CUdeviceptr kAt = FakeDevice::kBase;
  CUDA_OK(cuMemMap(kAt, 4096, 0, 1, 0));
  CUDA_OK(cuMemMap(kAt + 4096, 4096, 0, 2, 0));
  std::vector<char> sent(6000, 'x');
  auto host = reinterpret_cast<CUdeviceptr>(sent.data());
  // Within one mapping it is posted; across two the driver judges it.
  CHECK(world.round_trips([&] { CUDA_OK(cuMemcpy(kAt, host, 4096)); }) == 0);
  CHECK(world.round_trips([&] { CUDA_OK(cuMemcpy(kAt, host, 6000)); }) == 1);
  CHECK(cuMemFree_v2(kAt) == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuMemUnmap(kAt, 8192));
  CHECK_FALSE(current_client()->allocations().find_device(kAt + 5000).has_value());
}

TEST_CASE("errors have CUDA's names and texts, and unknown numbers none") {
  const char* text = nullptr;
  CUDA_OK(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  CHECK(std::string(text) == "CUDA_ERROR_ILLEGAL_ADDRESS");
  CUDA_OK(cuGetErrorString(CUDA_ERROR_INVALID_VALUE, &text));
  CHECK(std::string(text) == "invalid argument");
  CHECK(cuGetErrorName(static_cast<CUresult>(998), &text) == CUDA_ERROR_INVALID_VALUE);
  CHECK(text == nullptr);
}
