// CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER: which devices a program sees, and in which order.
//
//   std::vector<DeviceIdentity> all = …;                       // as the driver counts them
//   std::vector<std::size_t> seen = choose_devices(all, ::getenv("CUDA_VISIBLE_DEVICES"),
//                                                  ::getenv("CUDA_DEVICE_ORDER"));
//   all[seen[0]]                                               // is the program's device 0
//
// Owner: plain values.  Threads: any.  Reads no environment itself.
// Source: CUDA C++ Programming Guide 13.0, "CUDA Environment Variables". What it leaves open
// (repeated entries, text behind a number, ambiguous prefixes) is as PyTorch found it out for its
// own count of devices (torch/cuda/__init__.py), because the two must agree.
#pragma once
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

struct DeviceIdentity {
  CUuuid uuid{};
  int host = 0;              // devices of one machine have the same; PCI places compare within it
  std::array<int, 3> pci{};  // domain, bus, device
};

// The indices into `all` of the devices that are seen, in the program's order; at most all.size().
//   visible  the value of CUDA_VISIBLE_DEVICES: numbers or "GPU-" and the beginning of a UUID,
//            separated by commas; null: all. The first entry that names no device, or more than
//            one, ends the list; one that is repeated empties it.
//   order    the value of CUDA_DEVICE_ORDER: PCI_BUS_ID sorts by host and PCI place before
//            anything is numbered. FASTEST_FIRST and null leave the driver's order, which is that.
std::vector<std::size_t> choose_devices(std::span<const DeviceIdentity> all, const char* visible,
                                        const char* order);

}  // namespace farcall::cuda
