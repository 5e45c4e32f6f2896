#include "client_shim/snapshot.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "transport/api/hand.h"
#include "transport/base/limits.h"

namespace farcall::shim {
namespace {

// What holds on the server's machine and not across a network: there, host memory is another
// machine's. A program that asks first then takes its other path.
constexpr CUdevice_attribute kNotAcrossTheLink[] = {
    CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
    CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS,
    CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES,
    CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST,
    CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
    CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_INTEGRATED,
    // Handles of the server's operating system, and memory of its host.
    CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_HANDLE_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_WIN32_KMT_HANDLE_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES,
    CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
    // What has no message.
    CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED,
    CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK,
    CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH,
};

template <std::size_t kBytes>
std::string text_of(const char (&text)[kBytes]) {
  return std::string(text, ::strnlen(text, kBytes));
}

Device parse_device(wire::Reader& in, std::uint32_t attribute_count) {
  auto facts = in.get<api::hand::DeviceFacts>();
  Device device;
  device.primary_context = facts.primary_context;
  device.total_bytes = facts.memory_bytes;
  std::memcpy(device.uuid.bytes, facts.uuid, sizeof facts.uuid);
  device.pci_bus_id = text_of(facts.pci_bus_id);
  device.name = text_of(facts.name);
  device.attributes.resize(attribute_count);
  for (int& value : device.attributes) value = in.get<std::int32_t>();
  for (CUdevice_attribute attribute : kNotAcrossTheLink) {
    auto at = static_cast<std::size_t>(attribute) - 1;
    if (at < device.attributes.size()) device.attributes[at] = 0;
  }
  return device;
}

}  // namespace

std::optional<int> Device::attribute(int id) const {
  if (id < 1 || static_cast<std::size_t>(id) > attributes.size()) return std::nullopt;
  int value = attributes[static_cast<std::size_t>(id) - 1];
  if (value == api::hand::kNoAttribute) return std::nullopt;
  return value;
}

const Device* Snapshot::device(int ordinal) const {
  if (ordinal < 0 || static_cast<std::size_t>(ordinal) >= devices.size()) return nullptr;
  return &devices[static_cast<std::size_t>(ordinal)];
}

const Device* Snapshot::device_of_primary(std::uint64_t context) const {
  for (const Device& device : devices) {
    if (context != 0 && device.primary_context == context) return &device;
  }
  return nullptr;
}

std::vector<VisibleDevices::Known> known_devices(std::span<const Snapshot* const> servers) {
  std::vector<VisibleDevices::Known> known;
  for (int server = 0; server < static_cast<int>(servers.size()); ++server) {
    int number = 0;
    for (const Device& device : servers[static_cast<std::size_t>(server)]->devices) {
      const std::array pci = {device.attribute_or(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, 0),
                              device.attribute_or(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 0),
                              device.attribute_or(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, 0)};
      known.push_back({{.uuid = device.uuid, .host = server, .pci = pci},
                       {.server = server, .device = number++}});
    }
  }
  return known;
}

namespace {

// PCI addresses are per machine; programs take them for names of devices.
void give_own_address(Device& device, int server) {
  const auto at = static_cast<std::size_t>(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID) - 1;
  const std::size_t colon = device.pci_bus_id.find(':');
  if (at >= device.attributes.size() || colon == std::string::npos) return;
  device.attributes[at] = (device.attributes[at] & 0xfff) | server << 12;
  char domain[16];
  std::snprintf(domain, sizeof domain, "%04x", static_cast<unsigned>(device.attributes[at]));
  device.pci_bus_id.replace(0, colon, domain);
}

}  // namespace

Snapshot seen_by_program(std::span<const Snapshot* const> servers, const VisibleDevices& visible) {
  Snapshot seen;
  seen.driver_version = servers.front()->driver_version;
  for (const Snapshot* one : servers) {
    seen.driver_version = std::min(seen.driver_version, one->driver_version);
  }
  for (DevicePlace place : visible.places()) {
    const Snapshot& server = *servers[static_cast<std::size_t>(place.server)];
    Device device = server.devices[static_cast<std::size_t>(place.device)];
    for (const Snapshot* other : servers) {
      const bool is_taken =
          other != &server && place.server > 0 &&
          std::any_of(other->devices.begin(), other->devices.end(),
                      [&](const Device& one) { return one.pci_bus_id == device.pci_bus_id; });
      if (is_taken) give_own_address(device, place.server);
    }
    seen.devices.push_back(std::move(device));
  }
  return seen;
}

Result<Snapshot> parse_snapshot(wire::Reader& in) {
  Snapshot snapshot;
  auto [driver_version, device_count, attribute_count] = in.get<api::hand::OpenReply>();
  snapshot.driver_version = driver_version;
  if (in.failed() || device_count > limits::kDevicesMax || attribute_count > kAttributesMax) {
    return Status(Code::kMalformed, "the server's device list is out of bounds");
  }
  for (std::uint32_t i = 0; i < device_count && !in.failed(); ++i) {
    snapshot.devices.push_back(parse_device(in, attribute_count));
  }
  if (!in.done()) return Status(Code::kMalformed, "the server's device list has a wrong length");
  return snapshot;
}

}  // namespace farcall::shim
