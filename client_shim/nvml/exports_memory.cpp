// Memory and processes: what this user's processes on this machine hold of the leased devices.
#include <algorithm>

#include "client_shim/nvml/library.h"
#include "client_shim/nvml/usage_reader.h"

namespace farcall::nvml {
namespace {

std::uint64_t used_bytes(const Look& devices, unsigned index) {
  std::uint64_t used = 0;
  for (const ProcessUsage& process : read_usage(devices)) used += process.bytes[index];
  return std::min(used, devices.devices[index].memory_bytes);
}

// Runs body(devices, index): both are needed to look for processes.
template <class Body>
nvmlReturn_t of_use(nvmlDevice_t handle, const Body& body) {
  return answer([&](const Look& devices) {
    const int index = Library::get().index_of(handle);
    if (index < 0) return NVML_ERROR_INVALID_ARGUMENT;
    return body(devices, static_cast<unsigned>(index));
  });
}

void describe(const ProcessUsage& process, unsigned index, nvmlProcessInfo_v1_t* info) {
  *info = {process.pid, process.bytes[index]};
}
void describe(const ProcessUsage& process, unsigned index, nvmlProcessInfo_v2_t* info) {
  *info = {process.pid, process.bytes[index], kNoInstance, kNoInstance};
}

// count  in: how many `infos` holds; out: how many there are.
template <class Info>
nvmlReturn_t list_processes(nvmlDevice_t handle, unsigned* count, Info* infos) {
  return of_use(handle, [&](const Look& devices, unsigned index) {
    if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    std::vector<ProcessUsage> processes = read_usage(devices);
    std::erase_if(processes, [&](const ProcessUsage& one) { return one.bytes[index] == 0; });
    const unsigned room = *count;
    *count = static_cast<unsigned>(processes.size());
    if (processes.empty()) return NVML_SUCCESS;
    if (room < *count) return NVML_ERROR_INSUFFICIENT_SIZE;
    if (infos == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    for (const ProcessUsage& process : processes) describe(process, index, infos++);
    return NVML_SUCCESS;
  });
}

// Neither graphics nor the multi-process service is to be had.
nvmlReturn_t list_nobody(nvmlDevice_t handle, unsigned* count) {
  return of_device(handle, [&](const LookDevice&, unsigned) {
    if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return NVML_SUCCESS;
  });
}

}  // namespace
}  // namespace farcall::nvml

using namespace farcall::nvml;

NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t* memory) {
  return of_use(handle, [&](const Look& devices, unsigned index) {
    if (memory == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    const std::uint64_t used = used_bytes(devices, index);
    const std::uint64_t total = devices.devices[index].memory_bytes;
    *memory = {.total = total, .free = total - used, .used = used};
    return NVML_SUCCESS;
  });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t* memory) {
  return of_use(handle, [&](const Look& devices, unsigned index) {
    if (memory == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    if (memory->version != nvml_struct_version<nvmlMemory_v2_t>(2)) {
      return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    }
    const std::uint64_t used = used_bytes(devices, index);
    const std::uint64_t total = devices.devices[index].memory_bytes;
    memory->total = total;
    memory->reserved = 0;
    memory->free = total - used;
    memory->used = used;
    return NVML_SUCCESS;
  });
}

// Without a version, and _v1 as some callers name it, the entries are the short ones.
NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned* count,
                                                              nvmlProcessInfo_v1_t* infos) {
  return list_processes(device, count, infos);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device,
                                                                 unsigned* count,
                                                                 nvmlProcessInfo_v2_t* infos) {
  return list_processes(device, count, infos);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device,
                                                                 unsigned* count,
                                                                 nvmlProcessInfo_v2_t* infos) {
  return list_processes(device, count, infos);
}

#define FARCALL_LISTS_NOBODY(name)                                                       \
  NVML_EXPORT nvmlReturn_t name(nvmlDevice_t device, unsigned* count, void* /*infos*/) { \
    return list_nobody(device, count);                                                   \
  }
FARCALL_LISTS_NOBODY(nvmlDeviceGetGraphicsRunningProcesses)
FARCALL_LISTS_NOBODY(nvmlDeviceGetGraphicsRunningProcesses_v2)
FARCALL_LISTS_NOBODY(nvmlDeviceGetGraphicsRunningProcesses_v3)
FARCALL_LISTS_NOBODY(nvmlDeviceGetMPSComputeRunningProcesses)
FARCALL_LISTS_NOBODY(nvmlDeviceGetMPSComputeRunningProcesses_v2)
FARCALL_LISTS_NOBODY(nvmlDeviceGetMPSComputeRunningProcesses_v3)
#undef FARCALL_LISTS_NOBODY
