// Host memory that kernels are given by its address, and the program's own that is registered.
#include "client_shim/reach.h"

#include <thread>

#include "client_shim/host_pages.h"
#include "tests/client_shim/managed_device.h"
#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

constexpr std::size_t kBlock = kMirrorBlockBytes;

// kernel(char, double, int): the second parameter is a word in which an address fits.
struct Kernel {
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  Kernel() {
    CUDA_OK(cuModuleLoadData(&module, ".version 8.0\n.target sm_80\n.address_size 64\n"));
    CUDA_OK(cuModuleGetFunction(&function, module, "kernel"));
  }
  void launch(const volatile void* pointer) const {
    char a = 'a';
    int c = 77;
    void* params[] = {&a, &pointer, &c};
    CUDA_OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
  }
};

struct Pinned {
  volatile unsigned char* bytes = nullptr;
  CUdeviceptr address = 0;
  explicit Pinned(std::size_t count) {
    void* at = nullptr;
    CUDA_OK(cuMemAllocHost_v2(&at, count));
    bytes = static_cast<volatile unsigned char*>(at);
    address = reinterpret_cast<CUdeviceptr>(at);
  }
  void free() const { CUDA_OK(cuMemFreeHost(const_cast<unsigned char*>(bytes))); }
};

}  // namespace

TEST_CASE("a kernel that is given page-locked memory finds it at its address") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Pinned memory(3 * kBlock + 100);
  CUdeviceptr said = 0;
  CUDA_OK(cuPointerGetAttribute(&said, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, memory.address + 7));
  CHECK(said == memory.address + 7);
  for (std::size_t i = 0; i < 3 * kBlock; i += 1000) memory.bytes[i] = 3;
  device.kernel = [&] {
    REQUIRE(device.at(memory.address) != nullptr);
    for (std::size_t i = 0; i < 3 * kBlock; i += 1000) CHECK(device.at(memory.address)[i] == 3);
    device.at(memory.address)[2 * kBlock + 5] = 9;
  };
  kernel.launch(memory.bytes + 700);
  CUDA_OK(cuCtxSynchronize());
  CHECK(memory.bytes[2 * kBlock + 5] == 9);
  memory.bytes[5] = 10;
  device.kernel = [&] { CHECK(device.at(memory.address)[5] == 10); };
  // From now on it is the device's, too, whatever a launch is given.
  kernel.launch(nullptr);
  CUDA_OK(cuMemHostGetDevicePointer_v2(&said, const_cast<unsigned char*>(memory.bytes), 0));
  CHECK(said == memory.address);
  CHECK(device.count("cuMemAddressReserve") == 1);
  memory.free();
  CHECK(device.count("cuMemUnmap") == 1);
  CHECK(device.count("cuMemAddressFree") == 1);
  CHECK(!may_touch(memory.address, false));
}

TEST_CASE("page-locked memory that only copies use stays the program's alone") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Pinned memory(kBlock);
  CUdeviceptr at = 0;
  CUDA_OK(cuMemAlloc_v2(&at, kBlock));
  CUDA_OK(cuMemcpyHtoDAsync_v2(at, const_cast<unsigned char*>(memory.bytes), kBlock, nullptr));
  kernel.launch(nullptr);
  CHECK(world.round_trips([&] { kernel.launch(reinterpret_cast<void*>(at)); }) == 0);
  CHECK(!current_client()->mirrors().any());
  CHECK(device.count("cuMemAddressReserve") == 0);
  memory.free();
}

TEST_CASE("an address is found in a structure, and in a buffer of parameters") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Pinned memory(kBlock);
  std::uint64_t buffer[3] = {1, memory.address + kBlock - 1, 3};
  std::size_t bytes = sizeof buffer;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  CUDA_OK(cuLaunchKernel(kernel.function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.at(memory.address) != nullptr);
  memory.free();
}

TEST_CASE("where the server cannot have it, launches go on and it is not asked again") {
  ManagedDevice device;
  device.reserves_elsewhere = true;
  World world(device);
  world.use_device();
  Kernel kernel;
  Pinned memory(kBlock);
  kernel.launch(memory.bytes);
  kernel.launch(memory.bytes);
  CHECK(device.count("cuMemAddressReserve") == 1);
  CHECK(device.count("cuMemAddressFree") == 1);
  CUdeviceptr twin = 0;
  CHECK(cuPointerGetAttribute(&twin, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, memory.address) ==
        CUDA_ERROR_INVALID_VALUE);
  // What asks for its device address gets another one.
  memory.bytes[9] = 4;
  CUDA_OK(cuMemHostGetDevicePointer_v2(&twin, const_cast<unsigned char*>(memory.bytes), 0));
  CHECK(twin != memory.address);
  device.kernel = [&] {
    CHECK(device.at(twin)[9] == 4);
    device.at(twin)[9] = 5;
  };
  kernel.launch(reinterpret_cast<void*>(twin));
  CUDA_OK(cuCtxSynchronize());
  CHECK(memory.bytes[9] == 5);
  memory.free();
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.freed == twin);
}

TEST_CASE("where the device has no room just now, the next launch asks again") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Pinned memory(kBlock);
  device.no_reserving = CUDA_ERROR_OUT_OF_MEMORY;
  kernel.launch(memory.bytes);
  CUDA_OK(cuCtxSynchronize());
  device.no_reserving = CUDA_SUCCESS;
  device.kernel = [&] { CHECK(device.at(memory.address) != nullptr); };
  kernel.launch(memory.bytes);
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.count("cuMemAddressReserve") == 2);
  memory.free();
}

TEST_CASE("nothing that is written while memory becomes the device's is lost") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  for (int round = 0; round < 10; ++round) {
    Pinned memory(4 * kBlock);
    std::atomic<bool> over{false};
    std::uint64_t written = 0;
    std::atomic<bool> begun{false};
    auto* counter = reinterpret_cast<volatile std::uint64_t*>(memory.address + 3 * kBlock);
    std::thread writer([&] {
      do {
        *counter = ++written;
        if (!begun.exchange(true)) begun.notify_one();
      } while (!over);
    });
    begun.wait(false);
    kernel.launch(memory.bytes);
    over = true;
    writer.join();
    CUDA_OK(cuCtxSynchronize());
    CHECK(*counter == written);
    memory.free();
  }
}

TEST_CASE("copies in one part of a pool go on while a kernel is given another") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  Kernel kernel;
  constexpr unsigned kThreads = 4;
  for (int round = 0; round < 5; ++round) {
    Pinned pool((kThreads + 1) * kBlock);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        auto* part = const_cast<unsigned char*>(pool.bytes) + t * kBlock;
        CUdeviceptr at = 0;
        bool ok =
            cuCtxSetCurrent(context) == CUDA_SUCCESS && cuMemAlloc_v2(&at, kBlock) == CUDA_SUCCESS;
        for (int i = 0; ok && i < 20; ++i) {
          std::memset(part, i + 1, kBlock);
          ok = cuMemcpyHtoDAsync_v2(at, part, kBlock, nullptr) == CUDA_SUCCESS &&
               cuStreamSynchronize(nullptr) == CUDA_SUCCESS;
          std::memset(part, 0, kBlock);
          ok = ok && cuMemcpyDtoHAsync_v2(part, at, kBlock, nullptr) == CUDA_SUCCESS &&
               cuStreamSynchronize(nullptr) == CUDA_SUCCESS;
          ok = ok && part[0] == i + 1 && part[kBlock - 1] == i + 1;
        }
        wrong += ok ? 0 : 1;
      });
    }
    kernel.launch(pool.bytes + kThreads * kBlock);
    for (auto& each : threads) each.join();
    CHECK(wrong == 0);
    pool.free();
  }
}

TEST_CASE("registered memory of whole pages is the device's until it is unregistered") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  constexpr std::size_t kBytes = 2 * kBlock;
  void* own = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(own != MAP_FAILED);
  auto* bytes = static_cast<volatile unsigned char*>(own);
  bytes[kBlock + 1] = 6;
  CUDA_OK(cuMemHostRegister_v2(own, kBytes, CU_MEMHOSTREGISTER_DEVICEMAP));
  int can = -1;
  CUDA_OK(
      cuDeviceGetAttribute(&can, CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 0));
  CHECK(can == 0);  // so the device's address may be another
  CUdeviceptr twin = 0;
  CUDA_OK(cuMemHostGetDevicePointer_v2(&twin, static_cast<char*>(own) + 8, 0));
  device.kernel = [&] {
    CHECK(device.at(twin)[kBlock + 1 - 8] == 6);
    device.at(twin)[kBlock + 1 - 8] = 7;
  };
  kernel.launch(reinterpret_cast<void*>(twin));
  CUDA_OK(cuCtxSynchronize());
  CHECK(!is_plain_memory(reinterpret_cast<std::uint64_t>(own), kBytes));
  CUDA_OK(cuMemHostUnregister(own));
  CHECK(is_plain_memory(reinterpret_cast<std::uint64_t>(own), kBytes));
  CHECK(bytes[kBlock + 1] == 7);
  bytes[0] = 1;
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.freed == twin - 8);
  CHECK(!current_client()->mirrors().any());
  ::munmap(own, kBytes);
}

TEST_CASE("memory around what is registered already cannot be registered") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  std::vector<char> block(3 * kBlock);
  CUDA_OK(cuMemHostRegister_v2(block.data() + kBlock, 100, 0));
  for (std::size_t from : {std::size_t{0}, kBlock - 1, kBlock + 99}) {
    CHECK(cuMemHostRegister_v2(block.data() + from, block.size() - from, 0) ==
          CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  }
  CUDA_OK(cuMemHostRegister_v2(block.data() + kBlock + 100, 100, 0));
  CUDA_OK(cuMemHostRegister_v2(block.data(), kBlock, 0));
  for (std::size_t at : {std::size_t{0}, kBlock, kBlock + 100}) {
    CUDA_OK(cuMemHostUnregister(block.data() + at));
  }
}

TEST_CASE("registered memory that shares a page with something else is not the device's") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  std::vector<char> block(3 * kBlock + 10);
  CUdeviceptr at = 0;
  CUDA_OK(cuMemHostRegister_v2(block.data(), block.size(), 0));
  CHECK(cuMemHostGetDevicePointer_v2(&at, block.data(), 0) == CUDA_ERROR_NOT_SUPPORTED);
  CUDA_OK(cuMemHostUnregister(block.data()));
  CHECK(!current_client()->mirrors().any());
}
