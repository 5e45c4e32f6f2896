// NVML: the look at the devices, the pages on which processes tell what they hold, and what
// libnvidia-ml.so.1 makes of both.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "client_shim/look.h"
#include "client_shim/nvml/library.h"
#include "client_shim/nvml/text.h"
#include "client_shim/nvml/usage_reader.h"
#include "client_shim/usage_page.h"
#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::nvml;
using farcall::shim::Device;
using farcall::shim::FakeDevice;
using farcall::shim::look_table;
using farcall::shim::UsageFigures;
using farcall::shim::UsagePage;
using farcall::shim::World;

NVML_EXPORT nvmlReturn_t nvmlInit_v2();
NVML_EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags);
NVML_EXPORT nvmlReturn_t nvmlShutdown();
NVML_EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char* version, unsigned length);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned* count);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t* device);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char* id, nvmlDevice_t* device);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t* memory);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t* memory);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned* count,
                                                              nvmlProcessInfo_v1_t* infos);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t first, nvmlDevice_t second,
                                                int capability, nvmlGpuP2PStatus_t* status);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count,
                                                  nvmlFieldValue_t* values);
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type,
                                                   unsigned* mhz);
NVML_EXPORT nvmlReturn_t nvmlInternalGetExportTable(const void** table, const void* id);

namespace {

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;
// Of no other page on this machine, also when tests run beside each other.
const std::string kServer = "nvml-test-" + std::to_string(::getpid()) + ":7717";

int g_looks = 0;
int g_look_result = CUDA_SUCCESS;

// Two devices, told apart by the first byte of their ids.
int fake_look(Look* out, std::size_t room) {
  ++g_looks;
  REQUIRE(room == sizeof(Look));
  if (g_look_result != CUDA_SUCCESS) return g_look_result;
  *out = Look{};
  out->driver_version = 12080;
  out->device_count = 2;
  std::memcpy(out->server, kServer.c_str(), kServer.size() + 1);
  for (unsigned i = 0; i < 2; ++i) {
    LookDevice& device = out->devices[i];
    std::memcpy(device.name, "A device", 9);
    device.uuid[0] = static_cast<std::uint8_t>(i + 1);
    device.memory_bytes = kGib;
    device.pci_bus = 0x3b + static_cast<int>(i);
    device.clock_khz = 1'980'000;
  }
  return CUDA_SUCCESS;
}

// The library as a fresh process has it, over fake_look.
class FreshNvml {
 public:
  explicit FreshNvml(int look_result = CUDA_SUCCESS) {
    forget_for_test();
    set_look_for_test(fake_look);
    g_looks = 0;
    g_look_result = look_result;
  }
  ~FreshNvml() {
    set_look_for_test(nullptr);
    forget_for_test();
  }
  nvmlDevice_t device(unsigned index) {
    nvmlDevice_t handle = nullptr;
    REQUIRE(nvmlDeviceGetHandleByIndex_v2(index, &handle) == NVML_SUCCESS);
    return handle;
  }
};

std::vector<Device> two_devices() {
  std::vector<Device> devices(2);
  devices[0].uuid.bytes[0] = 1;
  devices[1].uuid.bytes[0] = 2;
  return devices;
}

std::uint64_t used(const Look& devices, std::uint32_t pid) {
  std::uint64_t sum = 0;
  for (const ProcessUsage& process : read_usage(devices)) {
    if (process.pid == pid) sum += process.bytes[0];
  }
  return sum;
}

}  // namespace

TEST_CASE("NVML looks at the devices once, however often it is opened and closed") {
  FreshNvml fresh;
  unsigned count = 0;
  CHECK(nvmlDeviceGetCount_v2(&count) == NVML_ERROR_UNINITIALIZED);
  CHECK(nvmlShutdown() == NVML_ERROR_UNINITIALIZED);
  for (int i = 0; i < 3; ++i) {
    CHECK(nvmlInit_v2() == NVML_SUCCESS);
    CHECK(nvmlInit_v2() == NVML_SUCCESS);
    CHECK(nvmlShutdown() == NVML_SUCCESS);
    CHECK(nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS);  // one nvmlInit is still open
    CHECK(count == 2);
    CHECK(nvmlShutdown() == NVML_SUCCESS);
    CHECK(nvmlDeviceGetCount_v2(&count) == NVML_ERROR_UNINITIALIZED);
  }
  CHECK(g_looks == 1);
}

TEST_CASE("without a server NVML does not open, and looks again when asked again") {
  FreshNvml fresh(CUDA_ERROR_NO_DEVICE);
  CHECK(nvmlInit_v2() == NVML_ERROR_DRIVER_NOT_LOADED);
  CHECK(nvmlShutdown() == NVML_ERROR_UNINITIALIZED);
  unsigned count = 9;
  CHECK(nvmlInitWithFlags(NVML_INIT_FLAG_NO_GPUS) == NVML_SUCCESS);
  CHECK(nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS);
  CHECK(count == 0);
  CHECK(nvmlShutdown() == NVML_SUCCESS);
  g_look_result = CUDA_SUCCESS;
  CHECK(nvmlInit_v2() == NVML_SUCCESS);
  CHECK(nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS);
  CHECK(count == 2);
  CHECK(g_looks == 3);
}

TEST_CASE("a libcuda.so.1 of another build is named as such") {
  FreshNvml fresh(CUDA_ERROR_INVALID_VALUE);
  CHECK(nvmlInit_v2() == NVML_ERROR_LIB_RM_VERSION_MISMATCH);
}

TEST_CASE("a bus id is understood in each of its spellings") {
  const PciAddress at{.domain = 0, .bus = 0x3b, .device = 0};
  CHECK(parse_bus_id("00000000:3B:00.0") == at);
  CHECK(parse_bus_id("0000:3b:00.0") == at);
  CHECK(parse_bus_id("0:3b:0") == at);
  CHECK(parse_bus_id("3b:00.0") == at);
  for (const char* wrong : {"", "3b", "3b:00.1", "0000:3b:00.0 ", "gpu:00:00"}) {
    CHECK_MESSAGE(!parse_bus_id(wrong), wrong);
  }
  FreshNvml fresh;
  nvmlDevice_t found = nullptr;
  REQUIRE(nvmlInit_v2() == NVML_SUCCESS);
  CHECK(nvmlDeviceGetHandleByPciBusId_v2("00000000:3C:00.0", &found) == NVML_SUCCESS);
  CHECK(found == fresh.device(1));
  CHECK(nvmlDeviceGetHandleByPciBusId_v2("00000000:3D:00.0", &found) == NVML_ERROR_NOT_FOUND);
  CHECK(nvmlDeviceGetHandleByPciBusId_v2("here", &found) == NVML_ERROR_INVALID_ARGUMENT);
}

TEST_CASE("what CUDA cannot tell is not made up") {
  FreshNvml fresh;
  REQUIRE(nvmlInit_v2() == NVML_SUCCESS);
  nvmlDevice_t device = fresh.device(0);
  unsigned mhz = 0;
  CHECK(nvmlDeviceGetMaxClockInfo(device, NVML_CLOCK_SM, &mhz) == NVML_SUCCESS);
  CHECK(mhz == 1980);
  CHECK(nvmlDeviceGetMaxClockInfo(device, NVML_CLOCK_MEM, &mhz) == NVML_ERROR_NOT_SUPPORTED);
  nvmlFieldValue_t values[2]{};
  CHECK(nvmlDeviceGetFieldValues(device, 2, values) == NVML_SUCCESS);
  CHECK(values[0].nvmlReturn == NVML_ERROR_NOT_SUPPORTED);
  CHECK(values[1].nvmlReturn == NVML_ERROR_NOT_SUPPORTED);
  CHECK(nvmlDeviceGetFieldValues(device, 1, nullptr) == NVML_ERROR_INVALID_ARGUMENT);
  nvmlGpuP2PStatus_t status{};
  CHECK(nvmlDeviceGetP2PStatus(device, device, 0, &status) == NVML_SUCCESS);
  CHECK(status == NVML_P2P_STATUS_OK);
  CHECK(nvmlDeviceGetP2PStatus(device, fresh.device(1), 0, &status) == NVML_SUCCESS);
  CHECK(status == NVML_P2P_STATUS_NOT_SUPPORTED);
  char version[96];
  CHECK(nvmlSystemGetDriverVersion(version, sizeof version) == NVML_SUCCESS);
  CHECK(std::string(version) == "570.26");  // the first to speak the server's CUDA 12.8
}

TEST_CASE("memory is what the pages of this server's programs say") {
  FreshNvml fresh;
  UsagePage here, elsewhere;
  here.show(kServer, two_devices());
  elsewhere.show("other:7717", two_devices());
  here.add(1, 100);
  here.add(1, 20);
  here.subtract(1, 60);
  here.add(2, 1);   // no such device
  here.add(-1, 1);  // nor this
  elsewhere.add(1, 1000);
  REQUIRE(nvmlInit_v2() == NVML_SUCCESS);
  nvmlMemory_t memory{};
  CHECK(nvmlDeviceGetMemoryInfo(fresh.device(1), &memory) == NVML_SUCCESS);
  CHECK(memory.used == 60);
  CHECK(memory.free == kGib - 60);
  CHECK(memory.total == kGib);
  CHECK(nvmlDeviceGetMemoryInfo(fresh.device(0), &memory) == NVML_SUCCESS);
  CHECK(memory.used == 0);
  nvmlMemory_v2_t second{.version = 1, .total = 0, .reserved = 0, .free = 0, .used = 0};
  CHECK(nvmlDeviceGetMemoryInfo_v2(fresh.device(1), &second) ==
        NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  second.version = nvml_struct_version<nvmlMemory_v2_t>(2);
  CHECK(nvmlDeviceGetMemoryInfo_v2(fresh.device(1), &second) == NVML_SUCCESS);
  CHECK(second.used == 60);

  unsigned count = 0;
  CHECK(nvmlDeviceGetComputeRunningProcesses(fresh.device(1), &count, nullptr) ==
        NVML_ERROR_INSUFFICIENT_SIZE);
  CHECK(count == 1);
  nvmlProcessInfo_v1_t info{};
  CHECK(nvmlDeviceGetComputeRunningProcesses(fresh.device(1), &count, &info) == NVML_SUCCESS);
  CHECK(info.pid == static_cast<unsigned>(::getpid()));
  CHECK(info.usedGpuMemory == 60);
  count = 1;
  CHECK(nvmlDeviceGetComputeRunningProcesses(fresh.device(0), &count, &info) == NVML_SUCCESS);
  CHECK(count == 0);
}

TEST_CASE("more than a device has is never shown") {
  FreshNvml fresh;
  UsagePage page;
  page.show(kServer, two_devices());
  page.add(0, 3 * kGib);
  REQUIRE(nvmlInit_v2() == NVML_SUCCESS);
  nvmlMemory_t memory{};
  CHECK(nvmlDeviceGetMemoryInfo(fresh.device(0), &memory) == NVML_SUCCESS);
  CHECK(memory.used == kGib);
  CHECK(memory.free == 0);
}

TEST_CASE("a page open in a child counts for the process that made it") {
  Look devices{};
  REQUIRE(fake_look(&devices, sizeof devices) == CUDA_SUCCESS);
  UsagePage page;
  page.show(kServer, two_devices());
  page.add(0, 100);
  int hold[2];
  REQUIRE(::pipe(hold) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte;
    ::close(hold[1]);
    (void)!::read(hold[0], &byte, 1);  // until the parent has looked
    ::_exit(0);
  }
  CHECK(used(devices, static_cast<std::uint32_t>(::getpid())) == 100);
  CHECK(used(devices, static_cast<std::uint32_t>(child)) == 0);
  ::close(hold[1]);
  ::close(hold[0]);
  CHECK(::waitpid(child, nullptr, 0) == child);
  page.abandon_in_child();
  CHECK(used(devices, static_cast<std::uint32_t>(::getpid())) == 0);
}

TEST_CASE("a file that only has a page's name is passed over") {
  Look devices{};
  REQUIRE(fake_look(&devices, sizeof devices) == CUDA_SUCCESS);
  const Fd file(::memfd_create(shim::kUsageFile, MFD_CLOEXEC));
  REQUIRE(file);
  UsageFigures figures{};
  figures.magic = shim::kUsageMagic;
  figures.pid = static_cast<std::uint32_t>(::getpid());
  figures.device_count = 1;
  figures.devices[0].uuid[0] = 1;
  figures.devices[0].bytes = 5;
  std::memcpy(figures.server, kServer.c_str(), kServer.size() + 1);
  const auto sum = [&] {
    REQUIRE(::pwrite(file.get(), &figures, sizeof figures, 0) ==
            static_cast<ssize_t>(sizeof figures));
    return used(devices, static_cast<std::uint32_t>(::getpid()));
  };
  CHECK(sum() == 0);  // too short
  REQUIRE(::ftruncate(file.get(), shim::kUsageBytes) == 0);
  CHECK(sum() == 5);
  figures.device_count = limits::kDevicesMax + 1;
  CHECK(sum() == 0);
  figures.device_count = 1;
  figures.magic = 0;
  CHECK(sum() == 0);
  figures.magic = shim::kUsageMagic;
  std::memset(figures.server, 'a', sizeof figures.server);  // no NUL
  CHECK(sum() == 0);
}

TEST_CASE("what a program allocates is on its page until it is given back") {
  FakeDevice device;
  World world(device);
  world.use_device();
  Look devices{};
  REQUIRE(look_table().look(&devices, sizeof devices) == CUDA_SUCCESS);
  const auto held = [&] { return used(devices, static_cast<std::uint32_t>(::getpid())); };
  const std::uint64_t before = held();  // of sessions that other tests left behind
  CUdeviceptr first = 0, second = 0;
  CUDA_OK(cuMemAlloc_v2(&first, 4096));
  CUDA_OK(cuMemAlloc_v2(&second, 512));
  CHECK(held() - before == 4608);
  CUDA_OK(cuMemFree_v2(first));
  CHECK(held() - before == 512);
  CUDA_OK(cuDevicePrimaryCtxRelease_v2(0));
  CHECK(held() - before == 0);
}

TEST_CASE("a look makes no session that stays, and none at all where there is one") {
  FakeDevice device;
  Look seen{};
  {
    World world(device, World::Unopened{});
    CHECK(look_table().look(&seen, sizeof seen) == CUDA_SUCCESS);
    CHECK(seen.device_count == 1);
    CHECK(std::string(seen.server) == "loopback");
    CHECK(shim::current_client() == nullptr);
    int count = 0;
    CHECK(cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
  }
  World world(device);
  CHECK(world.round_trips([&] { CHECK(look_table().look(&seen, sizeof seen) == CUDA_SUCCESS); }) ==
        0);
  CHECK(look_table().look(&seen, sizeof seen - 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(look_table().look(nullptr, sizeof seen) == CUDA_ERROR_INVALID_VALUE);
  const void* table = nullptr;
  CUDA_OK(cuGetExportTable(&table, &shim::kLookTableId));
  CHECK(table == &look_table());
}

TEST_CASE("a driver that does not start is no device to look at") {
  FakeDevice device;
  device.refuse_init = true;
  World world(device, World::Unopened{});
  Look seen{};
  CHECK(look_table().look(&seen, sizeof seen) == CUDA_ERROR_SYSTEM_NOT_READY);
}

TEST_CASE("the private table lists processes, and counts none for entries it does not know") {
  const unsigned char id[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
                                0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};
  const unsigned char other[16] = {};
  FreshNvml fresh;
  const void* table = nullptr;
  CHECK(nvmlInternalGetExportTable(&table, other) == NVML_ERROR_FUNCTION_NOT_FOUND);
  CHECK(table == nullptr);
  REQUIRE(nvmlInternalGetExportTable(&table, id) == NVML_SUCCESS);
  const auto* entries = static_cast<void* const*>(table);
  CHECK(reinterpret_cast<std::uintptr_t>(entries[0]) == 256 * sizeof(void*));
  UsagePage page;
  page.show(kServer, two_devices());
  page.add(0, 100);
  REQUIRE(nvmlInit_v2() == NVML_SUCCESS);

  using ByIndex = nvmlReturn_t (*)(unsigned, nvmlDevice_t*, std::uintptr_t);
  nvmlDevice_t handle = nullptr;
  CHECK(reinterpret_cast<ByIndex>(entries[81])(1, &handle, 0x22) == NVML_SUCCESS);
  CHECK(handle == fresh.device(1));

  using List = nvmlReturn_t (*)(nvmlDevice_t, unsigned*, void*);
  std::vector<std::byte> room(2 * 4128);
  unsigned count = 2;
  CHECK(reinterpret_cast<List>(entries[213])(fresh.device(0), &count, room.data()) == NVML_SUCCESS);
  CHECK(count == 1);
  std::uint32_t pid = 0;
  std::memcpy(&pid, room.data(), sizeof pid);
  CHECK(pid == static_cast<std::uint32_t>(::getpid()));
  CHECK(std::strstr(reinterpret_cast<const char*>(room.data()) + 32, "client_shim_test") !=
        nullptr);
  count = 250;
  using Unknown = nvmlReturn_t (*)(nvmlDevice_t, std::uintptr_t);
  auto unknown = reinterpret_cast<Unknown>(entries[100]);
  CHECK(unknown(fresh.device(0), reinterpret_cast<std::uintptr_t>(&count)) == NVML_SUCCESS);
  CHECK(count == 0);
  CHECK(unknown(nullptr, 0) == NVML_SUCCESS);
}
