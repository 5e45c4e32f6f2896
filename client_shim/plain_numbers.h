// PlainNumbers: who made what CUDA names by a number of the driver's own, in a program with several
// servers: reserved address ranges, texture and surface objects.
//
//   numbers.reserved(address, bytes, server);             // false: another server's lie there
//   std::optional<unsigned> whose = numbers.reserver_of(address);
//
// All else carries its server in its handle. A texture object cannot: kernels get it as it is. So
// two servers may give the same number, and then the current context decides.
// Owner: the fleet.  Threads: any; its lock is a leaf.
#pragma once
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "transport/base/guarded.h"

namespace farcall::shim {

class PlainNumbers {
 public:
  // False, and nothing is entered: it overlaps what another server reserved.
  bool reserved(std::uint64_t address, std::uint64_t bytes, unsigned server) {
    auto state = state_.lock();
    if (overlaps_other(*state, address, bytes, server)) return false;
    state->ranges[address] = {bytes, server};
    return true;
  }
  void given_back(std::uint64_t address) { state_.lock()->ranges.erase(address); }
  std::optional<unsigned> reserver_of(std::uint64_t address) {
    auto state = state_.lock();
    auto after = state->ranges.upper_bound(address);
    if (after == state->ranges.begin()) return std::nullopt;
    const auto& [begin, range] = *std::prev(after);
    return address - begin < range.bytes ? std::optional(range.server) : std::nullopt;
  }
  bool is_reserved_elsewhere(std::uint64_t address, std::uint64_t bytes, unsigned server) {
    return overlaps_other(*state_.lock(), address, bytes, server);
  }

  void made(std::uint64_t object, unsigned server) {
    state_.lock()->objects.insert({object, server});
  }
  void ended(std::uint64_t object, unsigned server) {
    state_.lock()->objects.erase({object, server});
  }
  // Whose it is; `preferred`, where that server has one of this number, too.
  std::optional<unsigned> maker_of(std::uint64_t object, unsigned preferred) {
    auto state = state_.lock();
    if (state->objects.contains({object, preferred})) return preferred;
    auto at = state->objects.lower_bound({object, 0});
    if (at == state->objects.end() || at->first != object) return std::nullopt;
    return at->second;
  }

 private:
  struct Range {
    std::uint64_t bytes = 0;
    unsigned server = 0;
  };
  struct State {
    std::map<std::uint64_t, Range> ranges;
    std::set<std::pair<std::uint64_t, unsigned>> objects;
  };
  static bool overlaps_other(const State& state, std::uint64_t address, std::uint64_t bytes,
                             unsigned server) {
    for (const auto& [begin, range] : state.ranges) {
      if (begin >= address + bytes) break;
      if (range.server != server && address < begin + range.bytes) return true;
    }
    return false;
  }
  Guarded<State> state_;
};

}  // namespace farcall::shim
