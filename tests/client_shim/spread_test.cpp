// How devices are dealt out over servers, and what share of them one server may have.
#include "client_shim/spread.h"

#include <doctest/doctest.h>

namespace farcall::shim {
namespace {

using Places = std::vector<DevicePlace>;
using Known = std::vector<VisibleDevices::Known>;

// Servers with so many devices each; their PCI places are in the opposite order.
Known pool_of(const std::vector<int>& devices) {
  Known known;
  int server = 0;
  for (int count : devices) {
    for (int device = 0; device < count; ++device) {
      known.push_back({{.uuid = {}, .host = server, .pci = {0, 9 - device, 0}}, {server, device}});
    }
    ++server;
  }
  return known;
}

VisibleDevices numbered(const std::vector<int>& devices, const link::Spread& spread,
                        const std::optional<std::string>& visible = std::nullopt,
                        const std::optional<std::string>& order = std::nullopt) {
  return number_devices(pool_of(devices), visible, order, spread);
}

const link::Spread kOn{.is_on = true};
const std::string kServers[] = {"a:1", "b:1", "c:1"};

}  // namespace

TEST_CASE("spread devices come in turns, one of each server") {
  CHECK(numbered({2, 2}, {}).places() == Places{{0, 0}, {0, 1}, {1, 0}, {1, 1}});
  CHECK(numbered({2, 2}, kOn).places() == Places{{0, 0}, {1, 0}, {0, 1}, {1, 1}});
  CHECK(numbered({1, 3, 2}, kOn).places() ==
        Places{{0, 0}, {1, 0}, {2, 0}, {1, 1}, {2, 1}, {1, 2}});
  CHECK(numbered({3}, kOn).places() == Places{{0, 0}, {0, 1}, {0, 2}});
  CHECK(numbered({}, kOn).places().empty());
}

TEST_CASE("CUDA_DEVICE_ORDER orders a server's own, CUDA_VISIBLE_DEVICES counts what was dealt") {
  CHECK(numbered({2, 2}, kOn, std::nullopt, "PCI_BUS_ID").places() ==
        Places{{0, 1}, {1, 1}, {0, 0}, {1, 0}});
  CHECK(numbered({2, 2}, kOn, "0,1").places() == Places{{0, 0}, {1, 0}});
  CHECK(numbered({2, 2}, kOn, "3,2").places() == Places{{1, 1}, {0, 1}});
}

TEST_CASE("of the first n devices of equal servers none has more than its share") {
  for (int servers = 1; servers <= 5; ++servers) {
    CAPTURE(servers);
    const std::vector<int> devices(static_cast<std::size_t>(servers), 4);
    std::vector<int> of_server(devices.size());
    int n = 0;
    const VisibleDevices visible = numbered(devices, kOn);
    for (const DevicePlace& place : visible.places()) {
      ++n;
      CHECK(++of_server[static_cast<std::size_t>(place.server)] <= (n + servers - 1) / servers);
    }
    CHECK(n == 4 * servers);
  }
}

TEST_CASE("a share that is too large is refused, with the server's name") {
  const link::Spread third{.is_on = true, .share_percent_max = 34};
  CHECK(check_share(numbered({2, 2, 2}, third), kServers, third).ok());
  const Status two = check_share(numbered({1, 3, 1}, third), kServers, third);
  CHECK(two.code() == Code::kDenied);
  CHECK(two.text().starts_with("b:1 has 3 of the program's 5 devices, more than the 34 %"));
  CHECK(check_share(numbered({1, 3, 1}, third, "0,1,2"), kServers, third).ok());
  CHECK(check_share(numbered({1}, third), std::span(kServers, 1), third).code() == Code::kDenied);
  CHECK(check_share(numbered({1}, kOn), std::span(kServers, 1), kOn).ok());
  CHECK(check_share(VisibleDevices(), kServers, third).ok());
}

TEST_CASE("shares of bytes are parts of what was sent") {
  const std::uint64_t sent[] = {100, 300, 0};
  CHECK(shares_of_bytes(sent) == std::vector{0.25, 0.75, 0.0});
  const std::uint64_t none[] = {0, 0};
  CHECK(shares_of_bytes(none) == std::vector{0.5, 0.5});
  CHECK(shares_of_bytes({}).empty());
}

}  // namespace farcall::shim
