// What the processes of this user hold of the devices, read from their UsagePages.
//
//   for (const ProcessUsage& process : read_usage(devices)) …process.bytes[index]…
//
// Sees processes of the same user on this machine, as far as /proc shows them, that use the same
// server: those of other machines and, in a container, of the host are not among them.
// Owner: plain values.  Threads: any.  Costs a look at the open files of the user's processes:
// some 30 µs for each process.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "client_shim/look.h"

namespace farcall::nvml {

// More than a machine runs; bounds what a look costs.
inline constexpr std::size_t kProcessesMax = 4096;

struct ProcessUsage {
  std::uint32_t pid = 0;
  std::array<std::uint64_t, limits::kDevicesMax> bytes{};  // by index in the Look
};

// Only processes that hold memory of at least one device, by pid.
std::vector<ProcessUsage> read_usage(const shim::Look& devices);

}  // namespace farcall::nvml
