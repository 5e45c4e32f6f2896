#include "client_shim/nvml/text.h"

#include <cstdio>
#include <cstring>
#include <string_view>

namespace farcall::nvml {

nvmlReturn_t give_text(const std::string& text, char* to, unsigned room) {
  if (to == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  if (text.size() >= room) return NVML_ERROR_INSUFFICIENT_SIZE;
  std::memcpy(to, text.c_str(), text.size() + 1);
  return NVML_SUCCESS;
}

std::string uuid_text(const unsigned char (&uuid)[16]) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[uuid[i] >> 4];
    text += kDigits[uuid[i] & 15];
  }
  return text;
}

std::optional<PciAddress> parse_bus_id(const char* text) {
  PciAddress at;
  int used = 0;
  if (std::sscanf(text, "%8x:%2x:%2x%n", &at.domain, &at.bus, &at.device, &used) != 3) {
    at = {};
    if (std::sscanf(text, "%2x:%2x%n", &at.bus, &at.device, &used) != 2) return std::nullopt;
  }
  const std::string_view rest = text + used;
  if (!rest.empty() && rest != ".0") return std::nullopt;
  return at;
}

}  // namespace farcall::nvml
