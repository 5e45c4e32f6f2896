// RangeFacts: what a program has said about ranges of managed memory: advice and prefetches.
//
//   facts.change(at, bytes, [](RangeFacts::Facts& each) { each.read_mostly = true; });
//   auto one = facts.common(at, bytes, [](const RangeFacts::Facts& each) { return each.preferred;
//   });
//
// Advice changes nothing here but what cuMemRangeGetAttribute answers: pages are where they were
// touched last, on one of two machines. One entry for each border between ranges.
// Owner: Client.  Threads: any.
#pragma once
#include <cstdint>
#include <map>
#include <optional>

#include "transport/base/guarded.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class RangeFacts {
 public:
  struct Location {
    CUmemLocationType type = CU_MEM_LOCATION_TYPE_INVALID;
    int id = 0;
    bool operator==(const Location&) const = default;
  };
  struct Facts {
    bool read_mostly = false;
    Location preferred;
    Location prefetched;
    std::uint64_t accessed_by = 0;  // a bit for each device
    bool by_host = false;
    bool operator==(const Facts&) const = default;
  };

  template <class Change>
  void change(std::uint64_t at, std::uint64_t bytes, Change change) {
    auto facts = facts_.lock();
    auto end = split(*facts, at + bytes);
    for (auto each = split(*facts, at); each != end; ++each) change(each->second);
  }
  // What `read` says of all of the range; nothing when it is not the same everywhere.
  template <class Read>
  auto common(std::uint64_t at, std::uint64_t bytes, Read read) {
    auto facts = facts_.lock();
    auto each = std::prev(facts->upper_bound(at));
    std::optional<decltype(read(each->second))> found = read(each->second);
    for (++each; each != facts->end() && each->first < at + bytes; ++each) {
      if (!(read(each->second) == *found)) found.reset();
      if (!found) break;
    }
    return found;
  }
  // The range is nobody's any more.
  void forget(std::uint64_t at, std::uint64_t bytes) {
    auto facts = facts_.lock();
    auto end = split(*facts, at + bytes);
    auto first = split(*facts, at);
    first->second = {};
    facts->erase(std::next(first), end);
  }

 private:
  using Borders = std::map<std::uint64_t, Facts>;  // from here to the next border
  static Borders::iterator split(Borders& borders, std::uint64_t at) {
    auto around = std::prev(borders.upper_bound(at));
    return around->first == at ? around : borders.emplace(at, around->second).first;
  }
  Guarded<Borders> facts_{Borders{{0, Facts{}}}};
};

}  // namespace farcall::shim
