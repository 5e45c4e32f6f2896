// CUDA_VISIBLE_DEVICES through the exported functions: the program counts its own devices, the
// server is told of its own.
#include "client_shim/visible_devices.h"

#include "client_shim/look.h"
#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

// Three devices that tell, as whatever they are asked for, which of them was asked.
class ThreeDevices {
 public:
  static inline std::atomic<int> asked{-1};  // the CUdevice the driver was called with last
  static inline CUmemLocation located{};     // and the location

  api::Driver table() {
    asked = -1;
    api::Driver driver = one_.table();
    driver.cuDeviceGetCount = [](int* count) { return *count = 3, CUDA_SUCCESS; };
    driver.cuDeviceGetName = [](char* name, int bytes, CUdevice device) {
      std::snprintf(name, static_cast<std::size_t>(bytes), "device %d", device);
      return CUDA_SUCCESS;
    };
    driver.cuDeviceGetUuid_v2 = [](CUuuid* uuid, CUdevice device) {
      std::memset(uuid->bytes, 0x10 + device, sizeof uuid->bytes);
      return CUDA_SUCCESS;
    };
    driver.cuDeviceCanAccessPeer = [](int* can, CUdevice from, CUdevice to) {
      return *can = from * 10 + to, CUDA_SUCCESS;
    };
    driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice device) {
      asked = device;
      return *context = reinterpret_cast<CUcontext>(0x1000), CUDA_SUCCESS;
    };
    driver.cuDeviceGraphMemTrim = [](CUdevice device) {
      asked = device;
      return device < 3 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    };
    driver.cuStreamGetDevice = [](CUstream, CUdevice* device) {
      return *device = asked, CUDA_SUCCESS;
    };
    driver.cuMemGetAccess = [](unsigned long long* flags, const CUmemLocation* at, CUdeviceptr) {
      located = *at;
      return *flags = 0, CUDA_SUCCESS;
    };
    return driver;
  }

 private:
  FakeDevice one_;
};

Settings visible(const char* devices) {
  Settings settings;
  settings.visible_devices = devices;
  return settings;
}

}  // namespace

TEST_CASE("a program sees the devices it asks for, by its own numbers") {
  ThreeDevices devices;
  World world(devices, World::Unopened(), visible("2,0"));
  CUDA_OK(cuInit(0));
  int count = 0;
  CUDA_OK(cuDeviceGetCount(&count));
  CHECK(count == 2);
  char name[32];
  CUDA_OK(cuDeviceGetName(name, sizeof name, 0));
  CHECK(std::string(name) == "device 2");
  CUuuid uuid;
  CUDA_OK(cuDeviceGetUuid_v2(&uuid, 1));
  CHECK(uuid.bytes[0] == 0x10);
  CHECK(cuDeviceGetName(name, sizeof name, 2) == CUDA_ERROR_INVALID_DEVICE);
  int can = 0;
  CUDA_OK(cuDeviceCanAccessPeer(&can, 0, 1));
  CHECK(can == 20);
}

TEST_CASE("the server is told of devices by its own numbers, and the program hears its own") {
  ThreeDevices devices;
  World world(devices, World::Unopened(), visible("GPU-11,0"));
  CUDA_OK(cuInit(0));
  CUcontext context = nullptr;
  CUDA_OK(cuDevicePrimaryCtxRetain(&context, 0));
  CUDA_OK(cuCtxSetCurrent(context));
  CUdevice device = -1;
  CUDA_OK(cuStreamGetDevice(nullptr, &device));
  CHECK(ThreeDevices::asked == 1);
  CHECK(device == 0);
  CUDA_OK(cuCtxGetDevice(&device));
  CHECK(device == 0);
  CUDA_OK(cuDeviceGraphMemTrim(1));
  CHECK(ThreeDevices::asked == 0);
}

TEST_CASE("a device the program does not see cannot be reached by its number") {
  ThreeDevices devices;
  World world(devices, World::Unopened(), visible("0"));
  CUDA_OK(cuInit(0));
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 1) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuDeviceGraphMemTrim(2) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(ThreeDevices::asked == api::kNoDevice);
}

TEST_CASE("a location on a device is renumbered, one on the host is not") {
  ThreeDevices devices;
  World world(devices, World::Unopened(), visible("1,2"));
  CUDA_OK(cuInit(0));
  CUmemLocation at{CU_MEM_LOCATION_TYPE_DEVICE, 1};
  unsigned long long flags = 0;
  CUDA_OK(cuMemGetAccess(&flags, &at, 0x1000));
  CHECK(ThreeDevices::located.id == 2);
  CHECK(at.id == 1);
  at = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 1};
  CUDA_OK(cuMemGetAccess(&flags, &at, 0x1000));
  CHECK(ThreeDevices::located.id == 1);
}

TEST_CASE("an empty CUDA_VISIBLE_DEVICES leaves no device, and NVML asks for all of them") {
  ThreeDevices devices;
  {
    World world(devices, World::Unopened(), visible(""));
    CHECK(cuInit(0) == CUDA_ERROR_NO_DEVICE);
    CHECK(current_client() == nullptr);
  }
  World world(devices, World::Unopened(), visible("2"));
  CUDA_OK(cuInit(0));
  auto seen = std::make_unique<Look>();
  CHECK(look_table().look(seen.get(), sizeof *seen) == CUDA_SUCCESS);
  CHECK(seen->device_count == 3);
}

TEST_CASE("a device is found by its place among several servers") {
  std::vector<VisibleDevices::Known> known;
  for (int server = 0; server < 2; ++server) {
    for (int device = 0; device < 2; ++device) {
      known.push_back({{.uuid = {}, .host = server, .pci = {0, 9 - device, 0}}, {server, device}});
    }
  }
  const VisibleDevices all(known, std::nullopt, std::nullopt);
  CHECK(all.place(3) == DevicePlace{1, 1});
  CHECK(all.ordinal({1, 0}) == 2);
  const VisibleDevices some(known, "3,0", "PCI_BUS_ID");
  CHECK(some.place(0) == DevicePlace{1, 0});
  CHECK(some.place(1) == DevicePlace{0, 1});
  CHECK_FALSE(some.place(2));
  CHECK_FALSE(some.place(-1));
  CHECK_FALSE(some.ordinal({0, 0}));
}
