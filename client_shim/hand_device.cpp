// Device queries, answered from the snapshot that came with the session.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "client_shim/entry.h"

using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Device;

namespace {

// Runs body(device) for a known ordinal.
template <class Body>
CUresult of_device(const char* name, CUdevice ordinal, const Body& body) {
  return answer(name, [&](Client& client) {
    const Device* device = client.snapshot().device(ordinal);
    return device == nullptr ? CUDA_ERROR_INVALID_DEVICE : body(*device);
  });
}

CUresult copy_text(char* to, int room, const std::string& text) {
  if (to == nullptr || room < 1) return CUDA_ERROR_INVALID_VALUE;
  std::size_t bytes = std::min(text.size(), static_cast<std::size_t>(room) - 1);
  std::memcpy(to, text.data(), bytes);
  to[bytes] = 0;
  return CUDA_SUCCESS;
}

CUresult give_uuid(const char* name, CUuuid* uuid, CUdevice ordinal) {
  return of_device(name, ordinal, [&](const Device& device) {
    if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *uuid = device.uuid;
    return CUDA_SUCCESS;
  });
}

// "0000:3B:00.0", "3b:00" and "0:3b:0" name the same device.
bool parse_bus_id(std::string_view text, unsigned parts[3]) {
  std::string copy(text.substr(0, text.find('.')));
  if (std::sscanf(copy.c_str(), "%x:%x:%x", &parts[0], &parts[1], &parts[2]) == 3) return true;
  parts[0] = 0;
  return std::sscanf(copy.c_str(), "%x:%x", &parts[1], &parts[2]) == 2;
}

}  // namespace

FARCALL_EXPORT cuDeviceGetCount(int* count) {
  return answer("cuDeviceGetCount", [&](Client& client) {
    if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *count = static_cast<int>(client.snapshot().devices.size());
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuDeviceGet(CUdevice* device, int ordinal) {
  return answer("cuDeviceGet", [&](Client& client) {
    if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (client.snapshot().device(ordinal) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuDeviceGetName(char* name, int len, CUdevice dev) {
  return of_device("cuDeviceGetName", dev,
                   [&](const Device& device) { return copy_text(name, len, device.name); });
}

FARCALL_EXPORT cuDeviceGetUuid(CUuuid* uuid, CUdevice dev) {
  return give_uuid("cuDeviceGetUuid", uuid, dev);
}

FARCALL_EXPORT cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice dev) {
  return give_uuid("cuDeviceGetUuid_v2", uuid, dev);
}

FARCALL_EXPORT cuDeviceTotalMem_v2(size_t* bytes, CUdevice dev) {
  return of_device("cuDeviceTotalMem_v2", dev, [&](const Device& device) {
    if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *bytes = device.total_bytes;
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice dev) {
  return of_device("cuDeviceGetAttribute", dev, [&](const Device& device) {
    auto known = device.attribute(attribute);
    if (value == nullptr || !known) return CUDA_ERROR_INVALID_VALUE;
    *value = *known;
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuDeviceGetPCIBusId(char* id, int len, CUdevice dev) {
  return of_device("cuDeviceGetPCIBusId", dev, [&](const Device& device) {
    // Unlike a name, it is never cut short: 13 bytes it needs, as CUDA says.
    const auto needs = static_cast<int>(device.pci_bus_id.size()) + 1;
    return copy_text(id, len < needs ? 0 : len, device.pci_bus_id);
  });
}

FARCALL_EXPORT cuDeviceGetByPCIBusId(CUdevice* dev, const char* id) {
  return answer("cuDeviceGetByPCIBusId", [&](Client& client) {
    unsigned wanted[3];
    if (dev == nullptr || id == nullptr || !parse_bus_id(id, wanted)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const auto& devices = client.snapshot().devices;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      unsigned has[3];
      if (!parse_bus_id(devices[i].pci_bus_id, has) || !std::equal(has, has + 3, wanted)) continue;
      *dev = static_cast<int>(i);
      return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_DEVICE;
  });
}

FARCALL_EXPORT cuDeviceComputeCapability(int* major, int* minor, CUdevice dev) {
  return of_device("cuDeviceComputeCapability", dev, [&](const Device& device) {
    if (major == nullptr || minor == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *major = device.attribute_or(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
    *minor = device.attribute_or(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0);
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuDeviceGetProperties(CUdevprop* properties, CUdevice dev) {
  return of_device("cuDeviceGetProperties", dev, [&](const Device& device) {
    if (properties == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto fact = [&](CUdevice_attribute id) { return device.attribute_or(id, 0); };
    CUdevprop out{};
    out.maxThreadsPerBlock = fact(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    for (int axis = 0; axis < 3; ++axis) {
      // The attributes of the three axes follow one another.
      out.maxThreadsDim[axis] = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + axis, 0);
      out.maxGridSize[axis] = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + axis, 0);
    }
    out.sharedMemPerBlock = fact(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
    out.totalConstantMemory = fact(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY);
    out.SIMDWidth = fact(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
    out.memPitch = fact(CU_DEVICE_ATTRIBUTE_MAX_PITCH);
    out.regsPerBlock = fact(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
    out.clockRate = fact(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    out.textureAlign = fact(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT);
    *properties = out;
    return CUDA_SUCCESS;
  });
}
