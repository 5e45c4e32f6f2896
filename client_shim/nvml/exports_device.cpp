// What NVML says of one device: everything here is constant, from the look at nvmlInit.
#include <cstdio>

#include "client_shim/nvml/library.h"
#include "client_shim/nvml/text.h"

namespace farcall::nvml {

namespace {

PciAddress address_of(const LookDevice& device) {
  return {static_cast<unsigned>(device.pci_domain), static_cast<unsigned>(device.pci_bus),
          static_cast<unsigned>(device.pci_device)};
}

nvmlReturn_t count_devices(unsigned* count) {
  return answer([&](const Look& devices) {
    if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *count = devices.device_count;
    return NVML_SUCCESS;
  });
}

nvmlReturn_t by_index(unsigned index, nvmlDevice_t* device) {
  return answer([&](const Look& devices) {
    if (device == nullptr || index >= devices.device_count) return NVML_ERROR_INVALID_ARGUMENT;
    *device = Library::get().handle_of(index);
    return NVML_SUCCESS;
  });
}

// The first device for which is_it(device) holds.
template <class IsIt>
nvmlReturn_t first_device(nvmlDevice_t* out, const IsIt& is_it) {
  return answer([&](const Look& devices) {
    if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; i < devices.device_count; ++i) {
      if (!is_it(devices.devices[i])) continue;
      *out = Library::get().handle_of(i);
      return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_FOUND;
  });
}

nvmlReturn_t by_bus_id(const char* bus_id, nvmlDevice_t* out) {
  const auto wanted = bus_id == nullptr ? std::nullopt : parse_bus_id(bus_id);
  if (!wanted) return answer([](const Look&) { return NVML_ERROR_INVALID_ARGUMENT; });
  return first_device(out, [&](const LookDevice& device) { return address_of(device) == *wanted; });
}

nvmlReturn_t pci_info(nvmlDevice_t handle, nvmlPciInfo_t* pci) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    if (pci == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    // The ids of vendor and board stay 0: CUDA does not tell them.
    *pci = {};
    const PciAddress at = address_of(device);
    pci->domain = at.domain;
    pci->bus = at.bus;
    pci->device = at.device;
    std::snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", at.domain & 0xffff,
                  at.bus & 0xff, at.device & 0xff);
    std::snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", at.domain, at.bus, at.device);
    return NVML_SUCCESS;
  });
}

nvmlDeviceArchitecture_t architecture_of(const LookDevice& device) {
  switch (device.major) {
    case 3: return NVML_DEVICE_ARCH_KEPLER;
    case 5: return NVML_DEVICE_ARCH_MAXWELL;
    case 6: return NVML_DEVICE_ARCH_PASCAL;
    case 7: return device.minor < 5 ? NVML_DEVICE_ARCH_VOLTA : NVML_DEVICE_ARCH_TURING;
    case 8: return device.minor < 9 ? NVML_DEVICE_ARCH_AMPERE : NVML_DEVICE_ARCH_ADA;
    case 9: return NVML_DEVICE_ARCH_HOPPER;
    case 10:
    case 11:
    case 12: return NVML_DEVICE_ARCH_BLACKWELL;
    default: return NVML_DEVICE_ARCH_UNKNOWN;
  }
}

}  // namespace
}  // namespace farcall::nvml

using namespace farcall::nvml;

NVML_EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned* count) { return count_devices(count); }
NVML_EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned* count) { return count_devices(count); }

NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t* device) {
  return by_index(index, device);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t* device) {
  return by_index(index, device);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char* id, nvmlDevice_t* device) {
  return by_bus_id(id, device);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char* id, nvmlDevice_t* device) {
  return by_bus_id(id, device);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char* uuid, nvmlDevice_t* out) {
  if (uuid == nullptr) return answer([](const Look&) { return NVML_ERROR_INVALID_ARGUMENT; });
  return first_device(out,
                      [&](const LookDevice& device) { return uuid_text(device.uuid) == uuid; });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned* index) {
  return of_device(handle, [&](const LookDevice&, unsigned at) {
    if (index == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *index = at;
    return NVML_SUCCESS;
  });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char* name, unsigned length) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    return give_text(device.name, name, length);
  });
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char* uuid, unsigned length) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    return give_text(uuid_text(device.uuid), uuid, length);
  });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t* pci) {
  return pci_info(device, pci);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t* pci) {
  return pci_info(device, pci);
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t* pci) {
  return pci_info(device, pci);
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int* major,
                                                            int* minor) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    if (major == nullptr || minor == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *major = device.major;
    *minor = device.minor;
    return NVML_SUCCESS;
  });
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t handle, unsigned* architecture) {
  return tell(handle, architecture, architecture_of);
}
// NVML's numbers for compute modes are CUDA's.
NVML_EXPORT nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t handle, int* mode) {
  return tell(handle, mode, [](const LookDevice& device) { return device.compute_mode; });
}
// 0, "unknown": a brand is not among the facts that CUDA tells.
NVML_EXPORT nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t handle, int* brand) {
  return tell(handle, brand, [](const LookDevice&) { return 0; });
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t handle, unsigned* bits) {
  return tell(handle, bits, [](const LookDevice& device) { return device.memory_bus_bits; });
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMultiGpuBoard(nvmlDevice_t handle, unsigned* is_one) {
  return tell(handle, is_one, [](const LookDevice& device) { return device.is_multi_gpu_board; });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t handle, nvmlEnableState_t* current,
                                              nvmlEnableState_t* pending) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    if (current == nullptr || pending == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *current = *pending = device.has_ecc != 0 ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
  });
}

NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t handle, nvmlClockType_t type,
                                                   unsigned* mhz) {
  return of_device(handle, [&](const LookDevice& device, unsigned) {
    if (mhz == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    const bool is_core = type == NVML_CLOCK_GRAPHICS || type == NVML_CLOCK_SM;
    const int khz = is_core                  ? device.clock_khz
                    : type == NVML_CLOCK_MEM ? device.memory_clock_khz
                                             : 0;
    if (khz <= 0) return NVML_ERROR_NOT_SUPPORTED;
    *mhz = static_cast<unsigned>(khz) / 1000;
    return NVML_SUCCESS;
  });
}

// The leased devices are whole ones, in nobody's slices that this library could show.
NVML_EXPORT nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle, unsigned* is_mig) {
  return tell(handle, is_mig, [](const LookDevice&) { return 0; });
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle, unsigned* count) {
  return tell(handle, count, [](const LookDevice&) { return 0; });
}
NVML_EXPORT nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t handle, int* mode) {
  return tell(handle, mode, [](const LookDevice&) { return 0; });
}
