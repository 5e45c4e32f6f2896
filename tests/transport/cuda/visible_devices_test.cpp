#include "transport/cuda/visible_devices.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace farcall::cuda;
using Seen = std::vector<std::size_t>;

namespace {

// Four devices: the UUID of number i begins with i, twice, and ends alike; the last is first on
// PCI.
std::vector<DeviceIdentity> four() {
  std::vector<DeviceIdentity> all(4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::memset(all[i].uuid.bytes, 0xab, sizeof all[i].uuid.bytes);
    all[i].uuid.bytes[0] = static_cast<char>(i * 0x11);
    all[i].pci = {0, static_cast<int>(8 - i), 0};
  }
  return all;
}

Seen seen(const char* visible, const char* order = nullptr) {
  const auto all = four();
  return choose_devices(all, visible, order);
}

}  // namespace

TEST_CASE("a program without CUDA_VISIBLE_DEVICES sees every device") {
  CHECK(seen(nullptr) == Seen{0, 1, 2, 3});
}

TEST_CASE("numbers choose devices in their order") {
  CHECK(seen("2") == Seen{2});
  CHECK(seen("3,0") == Seen{3, 0});
  CHECK(seen(" 1 , +2") == Seen{1, 2});
  CHECK(seen("1gpu,2") == Seen{1, 2});
}

TEST_CASE("the first entry that names no device ends the list") {
  CHECK(seen("0,4,1") == Seen{0});
  CHECK(seen("0,-1,1") == Seen{0});
  CHECK(seen("1,none,2") == Seen{1});
  CHECK(seen("99999999999999999999999").empty());
  CHECK(seen("-1").empty());
  CHECK(seen("NoDevFiles").empty());
  CHECK(seen(",0").empty());
  CHECK(seen("0,").size() == 1);
}

TEST_CASE("an empty list shows no device") {
  CHECK(seen("").empty());
  CHECK(seen("  ").empty());
}

TEST_CASE("a repeated entry shows no device") {
  CHECK(seen("0,1,0").empty());
  CHECK(seen("1,GPU-11").empty());
}

TEST_CASE("the beginning of a UUID chooses a device if it is the only one") {
  CHECK(seen("GPU-22abab") == Seen{2});
  CHECK(seen("GPU-33abABAB-abab-abab-abab-abababababab") == Seen{3});
  CHECK(seen("GPU-33,GPU-0,1") == Seen{3, 0, 1});
  CHECK(seen("GPU-").empty());
  CHECK(seen("GPU-44").empty());
  CHECK(seen("1,GPU-22ab-,0") == Seen{1});
  CHECK(seen("MIG-22abab").empty());
}

TEST_CASE("PCI_BUS_ID numbers devices by their places before they are chosen") {
  CHECK(seen(nullptr, "PCI_BUS_ID") == Seen{3, 2, 1, 0});
  CHECK(seen("0,GPU-00", "PCI_BUS_ID") == Seen{3, 0});
  CHECK(seen("0", "FASTEST_FIRST") == Seen{0});
  auto all = four();
  all[3].host = 1;  // of another machine: its places say nothing about this one's
  CHECK(choose_devices(all, nullptr, "PCI_BUS_ID") == Seen{2, 1, 0, 3});
}

TEST_CASE("without devices there is nothing to choose") {
  CHECK(choose_devices({}, "0", "PCI_BUS_ID").empty());
  CHECK(choose_devices({}, nullptr, nullptr).empty());
}
