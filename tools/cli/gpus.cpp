// farcall gpus: asks a server for its devices through the shim itself, so that what it shows is
// what a program would see.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/places.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::cli {
namespace {

struct Gpu {
  int index = 0;
  std::string name;
  std::string uuid;
  std::size_t memory_bytes = 0;
  int major = 0, minor = 0, multiprocessors = 0;
};

// The few entry points this command needs, by dlsym: the shim is no link-time dependency.
struct Driver {
  decltype(&::cuInit) init = nullptr;
  decltype(&::cuDeviceGetCount) count = nullptr;
  decltype(&::cuDeviceGet) get = nullptr;
  decltype(&::cuDeviceGetName) name = nullptr;
  decltype(&::cuDeviceGetUuid_v2) uuid = nullptr;
  decltype(&::cuDeviceTotalMem_v2) memory = nullptr;
  decltype(&::cuDeviceGetAttribute) attribute = nullptr;
};

template <class F>
bool find(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(::dlsym(library, name));
  return *function != nullptr;
}

bool open_driver(const std::string& path, Driver* driver) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  return library != nullptr && find(library, "cuInit", &driver->init) &&
         find(library, "cuDeviceGetCount", &driver->count) &&
         find(library, "cuDeviceGet", &driver->get) &&
         find(library, "cuDeviceGetName", &driver->name) &&
         find(library, "cuDeviceGetUuid_v2", &driver->uuid) &&
         find(library, "cuDeviceTotalMem_v2", &driver->memory) &&
         find(library, "cuDeviceGetAttribute", &driver->attribute);
}

// "GPU-01234567-89ab-cdef-0123-456789abcdef", as NVIDIA's tools write it.
std::string uuid_text(const CUuuid& uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += two;
  }
  return text;
}

CUresult read_gpu(const Driver& driver, int index, Gpu* gpu) {
  CUdevice device = 0;
  CUuuid uuid{};
  char name[256] = "";
  gpu->index = index;
  if (CUresult wrong = driver.get(&device, index)) return wrong;
  if (CUresult wrong = driver.name(name, sizeof name, device)) return wrong;
  if (CUresult wrong = driver.uuid(&uuid, device)) return wrong;
  if (CUresult wrong = driver.memory(&gpu->memory_bytes, device)) return wrong;
  driver.attribute(&gpu->major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  driver.attribute(&gpu->minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  driver.attribute(&gpu->multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
  gpu->name = name;
  gpu->uuid = uuid_text(uuid);
  return CUDA_SUCCESS;
}

void print_table(const std::vector<Gpu>& gpus) {
  std::printf("%-4s %-32s %10s %4s %5s  %s\n", "GPU", "NAME", "MEMORY", "CC", "SMS", "UUID");
  for (const Gpu& gpu : gpus) {
    std::printf("%-4d %-32s %6.1f GiB %2d.%d %5d  %s\n", gpu.index, gpu.name.c_str(),
                static_cast<double>(gpu.memory_bytes) / (1 << 30), gpu.major, gpu.minor,
                gpu.multiprocessors, gpu.uuid.c_str());
  }
}

void print_json(const std::string& server, const std::vector<Gpu>& gpus) {
  nlohmann::ordered_json all = {{"server", server}, {"gpus", nlohmann::ordered_json::array()}};
  for (const Gpu& gpu : gpus) {
    all["gpus"].push_back(
        {{"index", gpu.index},
         {"name", gpu.name},
         {"uuid", gpu.uuid},
         {"memory_bytes", gpu.memory_bytes},
         {"compute_capability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor)},
         {"multiprocessors", gpu.multiprocessors}});
  }
  std::printf("%s\n", all.dump(2).c_str());
}

}  // namespace

int list_gpus(const GpusOptions& options) {
  Connection connection = options.connection;
  if (Status status = complete(&connection); !status.ok()) return fail(status);
  if (Status status = try_connection(connection); !status.ok()) {
    return fail(status);
  }
  const Places places = find_places();
  export_environment(connection, places);
  Driver driver;
  if (!open_driver(places.shim, &driver)) return fail("cannot load " + places.shim);
  int count = 0;
  CUresult wrong = driver.init(0);
  if (wrong == CUDA_SUCCESS) wrong = driver.count(&count);
  std::vector<Gpu> gpus(static_cast<std::size_t>(count));
  for (int i = 0; i < count && wrong == CUDA_SUCCESS; ++i) {
    wrong = read_gpu(driver, i, &gpus[static_cast<std::size_t>(i)]);
  }
  if (wrong != CUDA_SUCCESS) {
    return fail("the driver of " + connection.server + " answers CUresult " +
                std::to_string(wrong) + "; on that host, farcall-server --check tells more");
  }
  options.json ? print_json(connection.server, gpus) : print_table(gpus);
  return 0;
}

}  // namespace farcall::cli
