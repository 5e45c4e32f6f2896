#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "gpu_server/software_gpu/config.h"
#include "gpu_server/software_gpu/driver.h"
#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {

TEST_CASE("a size in the environment may carry K, M or G, and nonsense counts as absent") {
  const Config plain = Config::from([](const char*) -> char* { return nullptr; });
  CHECK(plain.devices == 1);
  CHECK(plain.cc_major == 9);
  CHECK(plain.memory_bytes >= kMemoryBytesMin);
  static std::string size, capability, devices = "zero";
  const auto lookup = [](const char* name) -> char* {
    if (std::strcmp(name, "FARCALL_SOFTGPU_MEMORY") == 0) return size.data();
    if (std::strcmp(name, "FARCALL_SOFTGPU_CC") == 0) return capability.data();
    if (std::strcmp(name, "FARCALL_SOFTGPU_DEVICES") == 0) return devices.data();
    return nullptr;
  };
  size = "3G";
  capability = "8.6";
  CHECK(Config::from(lookup).memory_bytes == std::size_t{3} << 30);
  CHECK(Config::from(lookup).cc_major == 8);
  CHECK(Config::from(lookup).cc_minor == 6);
  CHECK(Config::from(lookup).devices == 1);
  for (const char* wrong : {"3Gx", "G", "", "99999999999G", "-1"}) {
    size = wrong;
    CHECK(Config::from(lookup).memory_bytes == plain.memory_bytes);
  }
  for (const char* wrong : {"8", "8.66", "x.1", "8.", "200.1"}) {
    capability = wrong;
    CHECK(Config::from(lookup).cc_major == 9);
  }
}

TEST_CASE("the device says what it is") {
  start_driver();
  int count = 0;
  CHECK(cuDeviceGetCount(&count) == CUDA_SUCCESS);
  CHECK(count == 2);
  char name[64] = {};
  CHECK(cuDeviceGetName(name, sizeof(name), 0) == CUDA_SUCCESS);
  CHECK(std::string(name) == "Farcall Software GPU");
  char cut[4] = {};
  CHECK(cuDeviceGetName(cut, sizeof(cut), 0) == CUDA_SUCCESS);
  CHECK(std::string(cut) == "Far");
  size_t bytes = 0;
  CHECK(cuDeviceTotalMem_v2(&bytes, 0) == CUDA_SUCCESS);
  CHECK(bytes == kTestMemoryBytes);
  int version = 0;
  CHECK(cuDriverGetVersion(&version) == CUDA_SUCCESS);
  CHECK(version == CUDA_VERSION);
}

TEST_CASE("every attribute CUDA defines has an answer and none beyond") {
  start_driver();
  for (int i = 1; i < CU_DEVICE_ATTRIBUTE_MAX; ++i) {
    int value = -77;
    CHECK(cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(i), 0) == CUDA_SUCCESS);
    CHECK(value != -77);
  }
  int value = 0;
  const auto beyond = static_cast<CUdevice_attribute>(CU_DEVICE_ATTRIBUTE_MAX);
  CHECK(cuDeviceGetAttribute(&value, beyond, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0) == CUDA_SUCCESS);
  CHECK(value == 32);
}

TEST_CASE("devices differ in UUID and PCI address, and a PCI address leads back") {
  start_driver();
  CUuuid first{}, second{};
  CHECK(cuDeviceGetUuid_v2(&first, 0) == CUDA_SUCCESS);
  CHECK(cuDeviceGetUuid_v2(&second, 1) == CUDA_SUCCESS);
  CHECK(std::memcmp(&first, &second, sizeof(first)) != 0);
  char address[16] = {};
  CHECK(cuDeviceGetPCIBusId(address, sizeof(address), 1) == CUDA_SUCCESS);
  CUdevice device = -1;
  CHECK(cuDeviceGetByPCIBusId(&device, address) == CUDA_SUCCESS);
  CHECK(device == 1);
  CHECK(cuDeviceGetByPCIBusId(&device, "0000:7f:00.0") == CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuDeviceGetPCIBusId(address, 5, 1) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a device that does not exist is an invalid device") {
  start_driver();
  CUdevice device = 0;
  CHECK(cuDeviceGet(&device, 2) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuDeviceGet(&device, -1) == CUDA_ERROR_INVALID_DEVICE);
  CUcontext context = nullptr;
  CHECK(cuDevicePrimaryCtxRetain(&context, 9) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(cuInit(1) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a pool lets in the devices it is told to, until it and its memory are gone") {
  DriverSession session;
  CUmemPoolProps props{};
  props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  props.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  CUmemoryPool pool = nullptr;
  REQUIRE(cuMemPoolCreate(&pool, &props) == CUDA_SUCCESS);
  CUmemAccessDesc theirs{{CU_MEM_LOCATION_TYPE_DEVICE, 1}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  const auto access = [&] {
    CUmemAccess_flags flags{};
    CHECK(cuMemPoolGetAccess(&flags, pool, &theirs.location) == CUDA_SUCCESS);
    return flags;
  };
  CHECK(access() == CU_MEM_ACCESS_FLAGS_PROT_NONE);
  CUdeviceptr memory = 0;
  REQUIRE(cuMemAllocFromPoolAsync(&memory, 4096, pool, nullptr) == CUDA_SUCCESS);
  const auto other_may_touch_it = [&] { return driver().device(1)->memory().contains(memory, 4); };
  CHECK(!other_may_touch_it());
  for (int twice = 0; twice < 2; ++twice) {
    CHECK(cuMemPoolSetAccess(pool, &theirs, 1) == CUDA_SUCCESS);
  }
  CHECK(access() == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  CHECK(other_may_touch_it());
  theirs.flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
  CHECK(cuMemPoolSetAccess(pool, &theirs, 1) == CUDA_SUCCESS);
  CHECK(!other_may_touch_it());
  theirs.flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
  // One that is no device spoils all of it.
  const CUmemAccessDesc both[] = {
      theirs, {{CU_MEM_LOCATION_TYPE_DEVICE, 9}, CU_MEM_ACCESS_FLAGS_PROT_READ}};
  CHECK(cuMemPoolSetAccess(pool, both, 2) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(access() == CU_MEM_ACCESS_FLAGS_PROT_NONE);
  CHECK(cuMemPoolSetAccess(pool, both, 1) == CUDA_SUCCESS);
  CHECK(other_may_touch_it());
  CUdeviceptr beside = 0;
  REQUIRE(cuMemAlloc_v2(&beside, 4096) == CUDA_SUCCESS);
  const auto is_let_in = [&] { return driver().device(1)->memory().contains(beside, 4); };
  CHECK(cuMemPoolDestroy(pool) == CUDA_SUCCESS);
  CHECK(other_may_touch_it());
  CHECK(cuMemPoolDestroy(pool) == CUDA_ERROR_INVALID_VALUE);
  CHECK(is_let_in());
  CHECK(cuMemFreeAsync(memory, nullptr) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(!is_let_in());
}

TEST_CASE("devices are peers, and access is enabled once for each context") {
  start_driver();
  int can = 0;
  CHECK(cuDeviceCanAccessPeer(&can, 0, 1) == CUDA_SUCCESS);
  CHECK(can == 1);
  CHECK(cuDeviceCanAccessPeer(&can, 1, 1) == CUDA_SUCCESS);
  CHECK(can == 0);
  CHECK(cuDeviceGetP2PAttribute(&can, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1) ==
        CUDA_SUCCESS);
  CHECK(can == 1);
  CUcontext mine = nullptr, same_device = nullptr, theirs = nullptr;
  REQUIRE(cuCtxCreate_v2(&theirs, 0, 1) == CUDA_SUCCESS);
  REQUIRE(cuCtxCreate_v2(&same_device, 0, 0) == CUDA_SUCCESS);
  REQUIRE(cuCtxCreate_v2(&mine, 0, 0) == CUDA_SUCCESS);
  CHECK(cuCtxDisablePeerAccess(theirs) == CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
  CHECK(cuCtxEnablePeerAccess(theirs, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuCtxEnablePeerAccess(mine, 0) == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(cuCtxEnablePeerAccess(same_device, 0) == CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
  CHECK(cuCtxEnablePeerAccess(theirs, 0) == CUDA_SUCCESS);
  CHECK(cuCtxEnablePeerAccess(theirs, 0) == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
  CHECK(cuCtxDisablePeerAccess(theirs) == CUDA_SUCCESS);
  CHECK(cuCtxEnablePeerAccess(theirs, 0) == CUDA_SUCCESS);
  CHECK(cuCtxDestroy_v2(mine) == CUDA_SUCCESS);
  CHECK(cuCtxDestroy_v2(same_device) == CUDA_SUCCESS);
  CHECK(cuCtxDestroy_v2(theirs) == CUDA_SUCCESS);
}

TEST_CASE("a child of fork may not use the driver") {
  start_driver();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int count = 0;
    const bool refused = cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED &&
                         cuInit(0) == CUDA_ERROR_NOT_INITIALIZED;
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace farcall::softgpu::tests
