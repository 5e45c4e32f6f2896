#include "transport/cuda/visible_devices.h"

#include <strings.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

namespace farcall::cuda {
namespace {

constexpr std::string_view kUuidPrefix = "GPU-";

// "GPU-4e9bd62f-25d1-...": as nvidia-smi -L shows it.
std::string text_of(const CUuuid& uuid) {
  std::string text(kUuidPrefix);
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += digits;
  }
  return text;
}

using Order = std::vector<std::size_t>;

std::optional<std::size_t> by_uuid(std::span<const DeviceIdentity> all, const Order& order,
                                   const std::string& entry) {
  std::optional<std::size_t> found;
  for (std::size_t index : order) {
    if (::strncasecmp(text_of(all[index].uuid).c_str(), entry.c_str(), entry.size()) != 0) continue;
    if (found) return std::nullopt;
    found = index;
  }
  return found;
}

// What is behind the digits does not count: "1gpu" is device 1.
std::optional<std::size_t> by_number(const Order& order, std::string_view entry) {
  if (entry.starts_with('+')) entry.remove_prefix(1);
  if (entry.empty() || std::isdigit(static_cast<unsigned char>(entry[0])) == 0) return std::nullopt;
  std::size_t number = 0;
  for (char letter : entry) {
    if (std::isdigit(static_cast<unsigned char>(letter)) == 0) break;
    number = number * 10 + static_cast<std::size_t>(letter - '0');
    if (number >= order.size()) return std::nullopt;
  }
  return order[number];
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char letter) {
    return std::isspace(static_cast<unsigned char>(letter)) != 0;
  };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<std::size_t> choose_devices(std::span<const DeviceIdentity> all, const char* visible,
                                        const char* order_name) {
  Order order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (order_name != nullptr && std::string_view(order_name) == "PCI_BUS_ID") {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::tie(all[a].host, all[a].pci) < std::tie(all[b].host, all[b].pci);
    });
  }
  if (visible == nullptr) return order;

  Order seen;
  std::string_view rest(visible);
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    const std::string_view entry = trimmed(rest.substr(0, comma));
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
    const auto index = entry.starts_with(kUuidPrefix) ? by_uuid(all, order, std::string(entry))
                                                      : by_number(order, entry);
    if (!index) break;
    if (std::find(seen.begin(), seen.end(), *index) != seen.end()) return {};
    seen.push_back(*index);
  }
  return seen;
}

}  // namespace farcall::cuda
