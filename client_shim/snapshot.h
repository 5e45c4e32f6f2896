// Snapshot: the constant facts of every device, sent once with the open reply, so that the hundreds
// of device queries a CUDA program starts with cost no round trip.
//
//   Result<Snapshot> snapshot = parse_snapshot(reply_body);
//   const Device* device = snapshot.value().device(0);       // null: no such ordinal
//   std::optional<int> warp = device->attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
//
// Owner: plain values.  Threads: any once parsed; nothing changes afterwards.
// The server is trusted with the program's data, yet its bytes are checked all the same.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client_shim/visible_devices.h"
#include "transport/base/status.h"
#include "transport/cuda/cuda_abi.h"
#include "transport/wire/reader.h"

namespace farcall::shim {

struct Device {
  std::uint64_t primary_context = 0;  // id, known before it is retained
  std::uint64_t total_bytes = 0;
  CUuuid uuid{};
  std::string pci_bus_id;  // "0000:3b:00.0"
  std::string name;
  std::vector<int> attributes;  // [id - 1]; api::hand::kNoAttribute where the driver refused

  // Nothing for an attribute the server's driver does not know.
  std::optional<int> attribute(int id) const;
  // The same with a default, for our own checks.
  int attribute_or(int id, int fallback) const { return attribute(id).value_or(fallback); }
};

struct Snapshot {
  int driver_version = 0;
  std::vector<Device> devices;

  const Device* device(int ordinal) const;
  // Errors: null when no device has this primary context.
  const Device* device_of_primary(std::uint64_t context) const;
};

// More attributes than any CUDA version has; a bound on what a reply may claim.
inline constexpr std::uint32_t kAttributesMax = 512;

// The devices of all servers, to be numbered in this order: those of the first server come first.
std::vector<VisibleDevices::Known> known_devices(std::span<const Snapshot* const> servers);
// The driver version is the lowest. A device of a later server whose PCI address another device
// has too is moved to a PCI domain of its own, so that every address names one device.
Snapshot seen_by_program(std::span<const Snapshot* const> servers, const VisibleDevices& visible);

// in: the body of the open reply after its status word.  Errors: kMalformed.
Result<Snapshot> parse_snapshot(wire::Reader& in);

}  // namespace farcall::shim
