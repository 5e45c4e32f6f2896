#include "client_shim/visible_devices.h"

#include <algorithm>

namespace farcall::shim {
namespace {

const char* value_of(const std::optional<std::string>& setting) {
  return setting ? setting->c_str() : nullptr;
}

}  // namespace

VisibleDevices::VisibleDevices(std::span<const Known> all,
                               const std::optional<std::string>& visible,
                               const std::optional<std::string>& order) {
  std::vector<cuda::DeviceIdentity> identities;
  identities.reserve(all.size());
  for (const Known& one : all) identities.push_back(one.identity);
  for (std::size_t index : cuda::choose_devices(identities, value_of(visible), value_of(order))) {
    places_.push_back(all[index].place);
  }
}

std::optional<DevicePlace> VisibleDevices::place(int ordinal) const {
  if (ordinal < 0 || static_cast<std::size_t>(ordinal) >= places_.size()) return std::nullopt;
  return places_[static_cast<std::size_t>(ordinal)];
}

std::optional<int> VisibleDevices::ordinal(DevicePlace place) const {
  const auto at = std::find(places_.begin(), places_.end(), place);
  if (at == places_.end()) return std::nullopt;
  return static_cast<int>(at - places_.begin());
}

}  // namespace farcall::shim
