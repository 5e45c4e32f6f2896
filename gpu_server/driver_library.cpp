#include "gpu_server/driver_library.h"

#include <dlfcn.h>
#include <link.h>

#include <array>

namespace farcall::server {

Result<std::unique_ptr<DriverLibrary>> DriverLibrary::open(const std::string& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Status(Code::kNotFound,
                  "cannot load the CUDA driver " + path + ": " + ::dlerror() +
                      ". Install the NVIDIA driver, or give the path of a libcuda.so.1 with "
                      "--driver");
  }
  std::unique_ptr<DriverLibrary> opened(new DriverLibrary());
  opened->functions_ = api::load_driver(
      opened->driver_, [library](const char* symbol) { return ::dlsym(library, symbol); });
  opened->path_ = path;
  link_map* map = nullptr;
  if (::dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name != nullptr) {
    opened->path_ = map->l_name;
  }
  if (opened->driver_.cuInit == nullptr || opened->driver_.cuDeviceGetCount == nullptr) {
    return Status(Code::kUnsupported,
                  opened->path_ +
                      " is not a CUDA driver: it has no cuInit. Give the path of a "
                      "libcuda.so.1 with --driver");
  }
  return opened;
}

Result<DriverFacts> look_at(const api::Driver& driver) {
  if (CUresult done = driver.cuInit(0); done != CUDA_SUCCESS) {
    return Status::driver("initialise the CUDA driver", done);
  }
  DriverFacts facts;
  if (driver.cuDriverGetVersion != nullptr) (void)driver.cuDriverGetVersion(&facts.version);
  int count = 0;
  if (CUresult done = driver.cuDeviceGetCount(&count); done != CUDA_SUCCESS) {
    return Status::driver("count the devices", done);
  }
  for (int device = 0; device < count; ++device) {
    DeviceFacts& each = facts.devices.emplace_back();
    std::array<char, 256> name{};
    if (driver.cuDeviceGetName != nullptr) {
      (void)driver.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device);
    }
    each.name = name.data();
    if (driver.cuDeviceTotalMem_v2 != nullptr) {
      (void)driver.cuDeviceTotalMem_v2(&each.bytes, device);
    }
    if (driver.cuDeviceGetAttribute == nullptr) continue;
    (void)driver.cuDeviceGetAttribute(&each.major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                      device);
    (void)driver.cuDeviceGetAttribute(&each.minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                      device);
  }
  return facts;
}

}  // namespace farcall::server
