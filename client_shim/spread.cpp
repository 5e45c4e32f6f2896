#include "client_shim/spread.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>

namespace farcall::shim {

Result<link::Spread> spread_from_environment() {
  const char* text = ::secure_getenv("FARCALL_SPREAD");
  Result<link::Spread> spread = link::parse_spread(text == nullptr ? "" : text);
  if (spread.ok()) return spread;
  return Status(spread.status().code(), "FARCALL_SPREAD: " + spread.status().text());
}

VisibleDevices number_devices(std::span<const VisibleDevices::Known> known,
                              const std::optional<std::string>& visible,
                              const std::optional<std::string>& order, const link::Spread& spread) {
  if (!spread.is_on) return VisibleDevices(known, visible, order);
  struct Turn {
    int number;  // of its server's devices
    DevicePlace place;
  };
  std::vector<Turn> turns;
  std::map<int, int> seen;
  const VisibleDevices ordered(known, std::nullopt, order);
  for (const DevicePlace& place : ordered.places()) {
    turns.push_back({seen[place.server]++, place});
  }
  std::stable_sort(turns.begin(), turns.end(),
                   [](const Turn& a, const Turn& b) { return a.number < b.number; });
  std::vector<VisibleDevices::Known> dealt;
  for (const Turn& turn : turns) {
    dealt.push_back(*std::find_if(known.begin(), known.end(),
                                  [&](const auto& one) { return one.place == turn.place; }));
  }
  return VisibleDevices(dealt, visible, std::nullopt);
}

Status check_share(const VisibleDevices& visible, std::span<const std::string> servers,
                   const link::Spread& spread) {
  std::vector<int> devices(servers.size());
  for (const DevicePlace& place : visible.places()) {
    ++devices[static_cast<std::size_t>(place.server)];
  }
  const auto most = std::max_element(devices.begin(), devices.end());
  const int all = static_cast<int>(visible.places().size());
  if (most == devices.end() || *most * 100 <= spread.share_percent_max * all) return ok();
  return {Code::kDenied,
          servers[static_cast<std::size_t>(most - devices.begin())] + " has " +
              std::to_string(*most) + " of the program's " + std::to_string(all) +
              " devices, more than the " + std::to_string(spread.share_percent_max) +
              " % that one server may have: name more servers, or choose devices of all of them "
              "by CUDA_VISIBLE_DEVICES"};
}

std::vector<double> shares_of_bytes(std::span<const std::uint64_t> sent) {
  const auto all = std::accumulate(sent.begin(), sent.end(), std::uint64_t{0});
  std::vector<double> shares;
  for (const std::uint64_t one : sent) {
    shares.push_back(all == 0 ? 1.0 / static_cast<double>(sent.size())
                              : static_cast<double>(one) / static_cast<double>(all));
  }
  return shares;
}

}  // namespace farcall::shim
