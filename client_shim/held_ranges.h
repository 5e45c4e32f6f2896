// HeldRanges: the device's addresses, kept free of anything of this process's.
//
//   ranges.hold(address, bytes);       // the device has memory there
//   ranges.give_way(address, bytes);   // pages of ours are about to be put there
//
// An address that is the device's must not be the program's as well, or cuPointerGetAttribute and
// the copies that find out a pointer's kind would take the one for the other. A server's driver and
// this process's C library choose from the same addresses and know nothing of each other; so what
// the device has is mapped here, too, without any right and without costing memory, in steps, so
// that most allocations cost no system call. Where the program has something already, it stays, and
// the log says so once. What is freed stays held: the driver will hand it out again.
// Owner: Allocations.  Threads: any. In the child of a fork nothing is held.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>

#include "transport/base/guarded.h"

namespace farcall::shim {

class HeldRanges {
 public:
  // Held at once around an address, where nothing is.
  static constexpr std::uint64_t kStepBytes = std::uint64_t{32} << 20;

  void hold(std::uint64_t address, std::uint64_t bytes);
  void give_way(std::uint64_t address, std::uint64_t bytes);

 private:
  struct Range {
    std::uint64_t first, end;
  };
  using Held = std::map<std::uint64_t, std::uint64_t>;  // first: end; apart from each other
  static Range whole_pages(std::uint64_t address, std::uint64_t bytes);
  static bool has(const Held& held, const Range& range);
  static void take(Held& held, const Range& range);
  // Maps what is free between what is held already; what is asked for where there is less.
  static void fill(Held& held, const Range& around, const Range& wanted);

  Guarded<Held> held_;
};

}  // namespace farcall::shim
