// Texts as NVML takes and gives them.
//
//   return give_text(device.name, name, length);
//   std::optional<PciAddress> address = parse_bus_id("00000000:3B:00.0");
//
// Owner: plain values.  Threads: any.
#pragma once
#include <optional>
#include <string>

#include "client_shim/nvml/nvml_api.h"

namespace farcall::nvml {

// NVML_ERROR_INSUFFICIENT_SIZE when `room` does not hold it with its NUL.
nvmlReturn_t give_text(const std::string& text, char* to, unsigned room);

// "GPU-01234567-89ab-cdef-0123-456789abcdef"
std::string uuid_text(const unsigned char (&uuid)[16]);

struct PciAddress {
  unsigned domain = 0, bus = 0, device = 0;
  bool operator==(const PciAddress&) const = default;
};

// "00000000:3B:00.0", "0000:3b:00", "3B:00.0"; nothing for other text.
std::optional<PciAddress> parse_bus_id(const char* text);

}  // namespace farcall::nvml
