// Which entries of a fatbin container a driver might load, given the devices it has: the others
// need not be sent.
//
//   const std::uint32_t sms[] = {86, 90};                   // of every device that may get it
//   std::vector<char> used = usable_entries(entries, sms, TrimRule::kOneIsChosen);
//   if (used[0]) …
//
// What a driver does with a container (CUDA C++ Programming Guide, "Application Compatibility"):
// machine code runs on devices of the same major version and the same or a later minor one; code
// for "sm_90a" on 9.0 alone; for "sm_100f" on 10.0 and later ones of that family. Of what runs, it
// takes the nearest; without any, it compiles the newest PTX that is not newer than the device.
// Where that leaves a doubt, an entry is kept: PTX beside machine code (a driver may be told to
// compile, or be one that does nothing else), the best of each version of PTX and ELF (an older
// driver may pass over a newer version), what is made for an embedded GPU and nearer than the best
// that is not (such code is not promised to run on other devices of its major version, so it never
// stands in for theirs), the oldest PTX where all is newer than the device,
// entries of unknown kinds, and something of every container, so that the driver gives its own
// error. Never wrong, sometimes longer than need be.
// Owner: plain values.  Threads: any.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "transport/cuda/image.h"

namespace farcall::cuda {

enum class TrimRule {
  kOneIsChosen,  // a container by itself: the best entries for each device
  kLinked,       // one of several that are linked together: all that could run on a device, because
                 // which targets fit together is the driver's to find out
};

// One for each entry: not 0 when it might be loaded.  Empty `sms`: all of them.
std::vector<char> usable_entries(std::span<const FatbinEntry> entries,
                                 std::span<const std::uint32_t> sms, TrimRule rule);

}  // namespace farcall::cuda
