// farcall smi: the devices and what this user's processes hold of them, asked through the NVML
// library itself, so that what it shows is what nvidia-smi would.
#include <dlfcn.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "client_shim/nvml/nvml_api.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/places.h"
#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

// The entry points this command needs, by dlsym: the library is no link-time dependency.
struct Nvml {
  nvmlReturn_t (*init)() = nullptr;
  nvmlReturn_t (*shutdown)() = nullptr;
  const char* (*error_text)(nvmlReturn_t) = nullptr;
  nvmlReturn_t (*cuda_version)(int*) = nullptr;
  nvmlReturn_t (*process_name)(unsigned, char*, unsigned) = nullptr;
  nvmlReturn_t (*count)(unsigned*) = nullptr;
  nvmlReturn_t (*by_index)(unsigned, nvmlDevice_t*) = nullptr;
  nvmlReturn_t (*name)(nvmlDevice_t, char*, unsigned) = nullptr;
  nvmlReturn_t (*uuid)(nvmlDevice_t, char*, unsigned) = nullptr;
  nvmlReturn_t (*pci)(nvmlDevice_t, nvmlPciInfo_t*) = nullptr;
  nvmlReturn_t (*capability)(nvmlDevice_t, int*, int*) = nullptr;
  nvmlReturn_t (*memory)(nvmlDevice_t, nvmlMemory_t*) = nullptr;
  nvmlReturn_t (*processes)(nvmlDevice_t, unsigned*, nvmlProcessInfo_v2_t*) = nullptr;
};

template <class F>
bool find(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(::dlsym(library, name));
  return *function != nullptr;
}

bool open_nvml(const std::string& path, Nvml* nvml) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  return library != nullptr && find(library, "nvmlInit_v2", &nvml->init) &&
         find(library, "nvmlShutdown", &nvml->shutdown) &&
         find(library, "nvmlErrorString", &nvml->error_text) &&
         find(library, "nvmlSystemGetCudaDriverVersion_v2", &nvml->cuda_version) &&
         find(library, "nvmlSystemGetProcessName", &nvml->process_name) &&
         find(library, "nvmlDeviceGetCount_v2", &nvml->count) &&
         find(library, "nvmlDeviceGetHandleByIndex_v2", &nvml->by_index) &&
         find(library, "nvmlDeviceGetName", &nvml->name) &&
         find(library, "nvmlDeviceGetUUID", &nvml->uuid) &&
         find(library, "nvmlDeviceGetPciInfo_v3", &nvml->pci) &&
         find(library, "nvmlDeviceGetCudaComputeCapability", &nvml->capability) &&
         find(library, "nvmlDeviceGetMemoryInfo", &nvml->memory) &&
         find(library, "nvmlDeviceGetComputeRunningProcesses_v3", &nvml->processes);
}

struct Process {
  unsigned pid = 0;
  std::string name;
  unsigned long long bytes = 0;
};

struct Device {
  std::string name, uuid, bus_id;
  int major = 0, minor = 0;
  nvmlMemory_t memory{};
  std::vector<Process> processes;
};

nvmlReturn_t read_processes(const Nvml& nvml, nvmlDevice_t handle, Device* device) {
  std::vector<nvmlProcessInfo_v2_t> infos;
  nvmlReturn_t read;
  do {  // until none has come in between the two questions
    auto count = static_cast<unsigned>(infos.size());
    read = nvml.processes(handle, &count, infos.data());
    infos.resize(count);
  } while (read == NVML_ERROR_INSUFFICIENT_SIZE);
  for (const nvmlProcessInfo_v2_t& info : infos) {
    char name[4096] = "";  // stays empty for one that has ended meanwhile
    (void)nvml.process_name(info.pid, name, sizeof name);
    device->processes.push_back({info.pid, name, info.usedGpuMemory});
  }
  return read;
}

nvmlReturn_t read_device(const Nvml& nvml, unsigned index, Device* device) {
  nvmlDevice_t handle = nullptr;
  char name[256] = "", uuid[96] = "";
  nvmlPciInfo_t pci{};
  if (nvmlReturn_t wrong = nvml.by_index(index, &handle)) return wrong;
  if (nvmlReturn_t wrong = nvml.name(handle, name, sizeof name)) return wrong;
  if (nvmlReturn_t wrong = nvml.uuid(handle, uuid, sizeof uuid)) return wrong;
  if (nvmlReturn_t wrong = nvml.pci(handle, &pci)) return wrong;
  if (nvmlReturn_t wrong = nvml.capability(handle, &device->major, &device->minor)) return wrong;
  if (nvmlReturn_t wrong = nvml.memory(handle, &device->memory)) return wrong;
  device->name = name;
  device->uuid = uuid;
  device->bus_id = pci.busId;
  return read_processes(nvml, handle, device);
}

nvmlReturn_t read_devices(const Nvml& nvml, std::vector<Device>* devices, int* cuda_version) {
  unsigned count = 0;
  if (nvmlReturn_t wrong = nvml.cuda_version(cuda_version)) return wrong;
  if (nvmlReturn_t wrong = nvml.count(&count)) return wrong;
  devices->resize(count);
  for (unsigned i = 0; i < count; ++i) {
    if (nvmlReturn_t wrong = read_device(nvml, i, &(*devices)[i])) return wrong;
  }
  return NVML_SUCCESS;
}

std::string version_text(int cuda_version) {
  return std::to_string(cuda_version / 1000) + "." + std::to_string(cuda_version % 1000 / 10);
}

void print_table(const std::string& server, int cuda_version, const std::vector<Device>& devices) {
  std::printf("%s, CUDA %s\n\n", server.c_str(), version_text(cuda_version).c_str());
  std::printf("%-4s %-32s %12s %12s  %s\n", "GPU", "NAME", "USED", "MEMORY", "BUS ID");
  bool is_used = false;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const Device& device = devices[i];
    std::printf("%-4zu %-32s %12s %12s  %s\n", i, device.name.c_str(),
                with_unit(static_cast<double>(device.memory.used)).c_str(),
                with_unit(static_cast<double>(device.memory.total)).c_str(), device.bus_id.c_str());
    is_used = is_used || !device.processes.empty();
  }
  if (!is_used) {
    std::printf("\nNo process of yours on this machine holds memory of these devices.\n");
    return;
  }
  std::printf("\n%-4s %8s %12s  %s\n", "GPU", "PID", "USED", "PROCESS");
  for (std::size_t i = 0; i < devices.size(); ++i) {
    for (const Process& process : devices[i].processes) {
      std::printf("%-4zu %8u %12s  %s\n", i, process.pid,
                  with_unit(static_cast<double>(process.bytes)).c_str(), process.name.c_str());
    }
  }
}

void print_json(const std::string& server, int cuda_version, const std::vector<Device>& devices) {
  nlohmann::ordered_json all = {{"server", server},
                                {"cuda_version", version_text(cuda_version)},
                                {"gpus", nlohmann::ordered_json::array()}};
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const Device& device = devices[i];
    auto processes = nlohmann::ordered_json::array();
    for (const Process& process : device.processes) {
      processes.push_back(
          {{"pid", process.pid}, {"name", process.name}, {"used_bytes", process.bytes}});
    }
    all["gpus"].push_back(
        {{"index", i},
         {"name", device.name},
         {"uuid", device.uuid},
         {"pci_bus_id", device.bus_id},
         {"compute_capability", std::to_string(device.major) + "." + std::to_string(device.minor)},
         {"memory_bytes", device.memory.total},
         {"used_bytes", device.memory.used},
         {"processes", processes}});
  }
  // A process may call itself what is no UTF-8.
  std::printf("%s\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int show_use(const SmiOptions& options) {
  Connection connection = options.connection;
  if (Status status = complete(&connection); !status.ok()) return fail(status);
  const Places places = find_places();
  export_environment(connection, places);
  Nvml nvml;
  if (!open_nvml(places.nvml, &nvml)) return fail("cannot load " + places.nvml);
  if (nvmlReturn_t wrong = nvml.init()) {
    // The library keeps its reasons to a log; trying again here gets them in words.
    Status status = try_connection(connection);
    return status.ok() ? fail(places.nvml + ": " + nvml.error_text(wrong)) : fail(status);
  }
  std::vector<Device> devices;
  int cuda_version = 0;
  const nvmlReturn_t wrong = read_devices(nvml, &devices, &cuda_version);
  (void)nvml.shutdown();
  if (wrong != NVML_SUCCESS) return fail(places.nvml + ": " + nvml.error_text(wrong));
  options.json ? print_json(connection.server, cuda_version, devices)
               : print_table(connection.server, cuda_version, devices);
  return 0;
}

}  // namespace farcall::cli
