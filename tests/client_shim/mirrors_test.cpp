// Managed memory over a real server session: real faults, real pages, a fake device.
#include "client_shim/mirrors.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "tests/client_shim/managed_device.h"
#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

constexpr std::size_t kBlock = kMirrorBlockBytes;

struct Managed {
  CUdeviceptr address = 0;
  volatile unsigned char* bytes = nullptr;
  explicit Managed(std::size_t count, unsigned flags = CU_MEM_ATTACH_GLOBAL) {
    CUDA_OK(cuMemAllocManaged(&address, count, flags));
    bytes = reinterpret_cast<volatile unsigned char*>(address);
  }
};

struct Kernel {
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  Kernel() {
    CUDA_OK(cuModuleLoadData(&module, ".version 8.0\n.target sm_80\n.address_size 64\n"));
    CUDA_OK(cuModuleGetFunction(&function, module, "kernel"));
  }
  CUresult launch(CUstream stream = nullptr, char* first = nullptr) const {
    char a = 'a';
    double b = 2.5;
    int c = 77;
    void* params[] = {first != nullptr ? first : &a, &b, &c};
    return cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr);
  }
};

}  // namespace

TEST_CASE("a kernel sees what the program wrote, and the program what the kernel wrote") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Managed memory(5 * kBlock);
  for (std::size_t i = 0; i < 5 * kBlock; i += 1000) memory.bytes[i] = 3;
  device.kernel = [&] {
    for (std::size_t i = 0; i < 5 * kBlock; i += 1000) CHECK(device.at(memory.address)[i] == 3);
    device.at(memory.address)[2 * kBlock + 5] = 9;
  };
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
  CHECK(memory.bytes[2 * kBlock + 5] == 9);
  CHECK(memory.bytes[1000] == 3);
  device.kernel = [&] { CHECK(device.at(memory.address)[2 * kBlock + 5] == 10); };
  memory.bytes[2 * kBlock + 5] = 10;
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
  CHECK(memory.bytes[2 * kBlock + 5] == 10);
}

TEST_CASE("only touched pages travel, and a launch without any costs no round trip") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Managed memory(64 * kBlock);
  memory.bytes[40 * kBlock] = 1;
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
  // Of memory nobody had before, the page that was written; pages may be large.
  const std::size_t sent = device.to_device;
  CHECK(sent > 0);
  CHECK(sent < 64 * kBlock);
  CHECK(memory.bytes[7 * kBlock] == 0);
  CHECK(device.from_device == kBlock);
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.to_device == sent);
  CHECK(world.round_trips([&] { CUDA_OK(kernel.launch()); }) == 0);
}

TEST_CASE("a launch whose bytes could not be sent says so, and the program keeps them") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Managed memory(kBlock);
  memory.bytes[5] = 1;
  device.fail_to_device = CUDA_ERROR_UNKNOWN;
  CHECK(kernel.launch() == CUDA_ERROR_UNKNOWN);
  CHECK(memory.bytes[5] == 1);
  memory.bytes[6] = 2;
  device.fail_to_device = 0;
  device.kernel = [&] {
    CHECK(device.at(memory.address)[5] == 1);
    CHECK(device.at(memory.address)[6] == 2);
  };
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("an address that is taken here is given back for another") {
  ManagedDevice device;
  device.free_room();
  void* taken = ::mmap(reinterpret_cast<void*>(device.base()), 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  REQUIRE(taken == reinterpret_cast<void*>(device.base()));
  std::memset(taken, 5, 4096);
  World world(device);
  world.use_device();
  Managed memory(100);
  CHECK(memory.address == device.base() + 4096);
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.count("cuMemFree_v2") == 1);
  CHECK(static_cast<char*>(taken)[99] == 5);
  ::munmap(taken, 4096);
}

TEST_CASE("many threads touch what a kernel left, and arguments may lie there too") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Managed memory(32 * kBlock);
  device.kernel = [&] { std::memset(device.at(memory.address), 6, 32 * kBlock); };
  CUDA_OK(kernel.launch(nullptr, reinterpret_cast<char*>(memory.address + 9 * kBlock)));
  CUDA_OK(cuCtxSynchronize());
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < 32 * kBlock; i += 8 * 997) sum += memory.bytes[i] != 6 ? 1 : 0;
    });
  }
  for (auto& each : threads) each.join();
  CHECK(sum == 0);
  CUDA_OK(kernel.launch(nullptr, reinterpret_cast<char*>(memory.address + 9 * kBlock)));
  CUDA_OK(cuCtxSynchronize());
}

TEST_CASE("memory that is attached to another stream stays where it is") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  CUstream mine = nullptr, other = nullptr;
  CUDA_OK(cuStreamCreate(&mine, CU_STREAM_NON_BLOCKING));
  CUDA_OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  Managed memory(kBlock, CU_MEM_ATTACH_HOST);
  memory.bytes[0] = 1;
  CUDA_OK(kernel.launch(other));
  CHECK(device.to_device == 0);
  CUDA_OK(cuStreamAttachMemAsync(mine, memory.address, 0, CU_MEM_ATTACH_SINGLE));
  CUDA_OK(kernel.launch(other));
  CHECK(device.to_device == 0);
  CUDA_OK(kernel.launch(mine));
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.to_device > 0);
  CHECK(cuStreamAttachMemAsync(mine, memory.address + 1, 0, CU_MEM_ATTACH_SINGLE) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamAttachMemAsync(nullptr, memory.address, 0, CU_MEM_ATTACH_SINGLE) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("freed memory is nobody's, and advice about it is refused") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Managed memory(kBlock);
  CUmemLocation gpu{CU_MEM_LOCATION_TYPE_DEVICE, 0};
  CUDA_OK(cuMemAdvise_v2(memory.address, kBlock, CU_MEM_ADVISE_SET_READ_MOSTLY, gpu));
  int mostly = 0;
  CUDA_OK(cuMemRangeGetAttribute(&mostly, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory.address,
                                 kBlock));
  CHECK(mostly == 1);
  CHECK(cuMemAdvise_v2(memory.address, kBlock + 1, CU_MEM_ADVISE_SET_READ_MOSTLY, gpu) ==
        CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuMemFree_v2(memory.address));
  CHECK(cuMemAdvise_v2(memory.address, kBlock, CU_MEM_ADVISE_SET_READ_MOSTLY, gpu) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(!current_client()->mirrors().any());
  // The address is free for anything of the program's.
  void* again = ::mmap(reinterpret_cast<void*>(memory.address), kBlock, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(again == reinterpret_cast<void*>(memory.address));
  ::munmap(again, kBlock);
}

namespace {

volatile sig_atomic_t g_faults = 0;
void* volatile g_page = nullptr;

void open_page(int, siginfo_t* info, void*) {
  if (info->si_addr != g_page) ::_exit(3);
  g_faults = g_faults + 1;
  ::mprotect(g_page, 4096, PROT_READ | PROT_WRITE);
}

}  // namespace

TEST_CASE("a fault of the program's own reaches its own handler, also one installed later") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  Managed memory(kBlock);
  g_page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction own {
  }, before{};
  own.sa_sigaction = open_page;
  own.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &own, &before);
  CUDA_OK(kernel.launch());  // puts the shim's handler in front of it
  CUDA_OK(cuCtxSynchronize());
  g_faults = 0;
  *static_cast<volatile char*>(g_page) = 1;
  CHECK(g_faults == 1);
  device.at(memory.address)[9] = 4;
  CHECK(memory.bytes[9] == 4);
  CHECK(g_faults == 1);
  ::sigaction(SIGSEGV, &before, nullptr);
  ::munmap(g_page, 4096);
}

TEST_CASE("a driver whose managed memory does not begin with a page is served all the same") {
  ManagedDevice device;
  device.skew = 0x210;
  World world(device);
  world.use_device();
  Kernel kernel;
  Managed first(100), second(kBlock + 1);
  CHECK(first.address % 4096 == 0);
  CHECK(second.address % 4096 == 0);
  first.bytes[99] = 1;
  second.bytes[kBlock] = 2;
  device.kernel = [&] {
    CHECK(device.at(first.address)[99] == 1);
    CHECK(device.at(second.address)[kBlock] == 2);
    device.at(second.address)[0] = 3;
  };
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
  CHECK(second.bytes[0] == 3);
  CUDA_OK(cuMemFree_v2(second.address));
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.freed + 4096 - device.skew == second.address);  // by the address it gave
}

TEST_CASE("two threads may be the first to ask for one variable") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  device.free_room();
  Mirrors& mirrors = current_client()->mirrors();
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  const Mirrors::Variable variable{device.base() + 16, 4, context, 5};
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> ready{0};
    CUresult results[2] = {};
    const auto ask = [&](int i) {
      for (++ready; ready < 2;) {
      }
      results[i] = mirrors.place_variable(variable);
    };
    std::thread other(ask, 1);
    ask(0);
    other.join();
    REQUIRE(results[0] == CUDA_SUCCESS);
    REQUIRE(results[1] == CUDA_SUCCESS);
    mirrors.drop_owner(5);
    REQUIRE(!mirrors.any());
  }
}

TEST_CASE("variables share pages with each other, and with what is nobody's") {
  ManagedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  device.free_room();
  Mirrors& mirrors = current_client()->mirrors();
  CUcontext context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&context));
  const CUdeviceptr base = device.base();
  std::memset(device.at(base), 0xee, 3 * 4096);
  device.at(base + 16)[0] = 1;
  device.at(base + 4090)[0] = 2;
  device.at(base + 2 * 4096)[0] = 3;
  CUDA_OK(mirrors.place_variable({base + 16, 4, context, 5}));
  auto* small = reinterpret_cast<volatile unsigned char*>(base + 16);
  CHECK(small[0] == 1);
  small[1] = 11;  // the page is the program's now
  // From the same page to the third one.
  CUDA_OK(mirrors.place_variable({base + 4090, 4096 + 10, context, 6}));
  auto* large = reinterpret_cast<volatile unsigned char*>(base + 4090);
  CHECK(large[0] == 2);
  CHECK(large[4102] == 3);
  CHECK(small[1] == 11);
  CHECK(mirrors.find(base + 4090, 4096 + 10).has_value());
  large[4103] = 33;
  CUDA_OK(mirrors.place_variable({base + 16, 4, context, 5}));  // asked for again
  device.kernel = [&] {
    CHECK(device.at(base)[17] == 11);
    CHECK(device.at(base)[0] == 0xee);  // not ours
    CHECK(device.at(base)[20] == 0xee);
    CHECK(device.at(base + 4090)[4103] == 33);
    CHECK(device.at(base + 4090)[4106] == 0xee);
    device.at(base + 4090)[5] = 22;
  };
  CUDA_OK(kernel.launch());
  CUDA_OK(cuCtxSynchronize());
  CHECK(large[5] == 22);
  mirrors.drop_owner(5);
  CHECK(large[4103] == 33);
  mirrors.drop_owner(6);
  CHECK(!mirrors.any());
}

namespace {

struct QueriedDevice : ManagedDevice {
  api::Driver table() {
    api::Driver driver = ManagedDevice::table();
    driver.cuStreamQuery = [](CUstream) { return CUDA_SUCCESS; };
    return driver;
  }
};

}  // namespace

TEST_CASE("what the program writes while a kernel runs reaches it with the next wait, alone") {
  QueriedDevice device;
  World world(device);
  world.use_device();
  Kernel kernel;
  void* at = nullptr;
  CUdeviceptr address = 0;
  CUDA_OK(cuMemHostAlloc(&at, 2 * kBlock, CU_MEMHOSTALLOC_DEVICEMAP));
  CUDA_OK(cuMemHostGetDevicePointer_v2(&address, at, 0));
  auto* const host = static_cast<volatile unsigned char*>(at);
  CUDA_OK(kernel.launch());
  auto* const there = device.at(address);
  for (const bool waits : {true, false}) {
    host[8] = waits ? 7 : 8;
    there[16] = waits ? 5 : 6;  // the kernel's own, beside it
    if (waits) CUDA_OK(cuStreamSynchronize(nullptr));
    if (!waits) CUDA_OK(cuStreamQuery(nullptr));
    CHECK(there[8] == (waits ? 7 : 8));
    CHECK(host[16] == (waits ? 5 : 6));
  }
  // More changes than are worth telling apart, and the last of a block.
  for (std::size_t i = 0; i < kBlock; i += 16) host[kBlock + i] = 3;
  host[2 * kBlock - 1] = 4;
  CUDA_OK(cuCtxSynchronize());
  CHECK(there[2 * kBlock - 16] == 3);
  CHECK(there[2 * kBlock - 1] == 4);
  CUDA_OK(cuMemFreeHost(at));
}
