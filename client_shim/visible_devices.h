// VisibleDevices: the program's numbers of devices, and where each of them is.
//
//   VisibleDevices visible(all, settings.visible_devices, settings.device_order);
//   std::optional<DevicePlace> place = visible.place(0);      // the program's device 0
//   int ordinal = visible.ordinal({.server = 0, .device = 3});
//
// CUDA_VISIBLE_DEVICES is the client's to obey: the server may show its program more devices than
// the program wants, in another order, and several servers each begin to count at 0. A device is
// therefore known by two numbers: the program's, in everything it passes and is told, and a place,
// in everything on the wire. Who is to translate: transport/api/device_numbers.h.
// Owner: the client.  Threads: any once made; nothing changes afterwards.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/cuda/visible_devices.h"

namespace farcall::shim {

struct DevicePlace {
  int server = 0;  // which of the servers
  int device = 0;  // the number its driver gives it
  bool operator==(const DevicePlace&) const = default;
};

class VisibleDevices {
 public:
  struct Known {
    cuda::DeviceIdentity identity;
    DevicePlace place;
  };

  VisibleDevices() = default;
  // `visible` and `order` as cuda::choose_devices; nothing stands for a variable that is not set.
  VisibleDevices(std::span<const Known> all, const std::optional<std::string>& visible,
                 const std::optional<std::string>& order);

  // In the program's order.
  const std::vector<DevicePlace>& places() const { return places_; }
  // Nothing for a number the program has no device of.
  std::optional<DevicePlace> place(int ordinal) const;
  // Nothing for a device the program does not see.
  std::optional<int> ordinal(DevicePlace place) const;

 private:
  std::vector<DevicePlace> places_;
};

}  // namespace farcall::shim
