// Capabilities: the families of calls that a session's lease grants.
//
//   Capabilities granted(families);                  // bit n: rows whose id has the high byte n
//   if (!granted.allow(head.id)) return refuse(…);   // a bit test; nothing else on the way of a
//   call if (granted.is_first_refusal(head.id)) …         // once for each family: to say it by
//   name
//
// Owner: a session's executor.  Threads: any.
#pragma once
#include <atomic>
#include <cstdint>

#include "transport/wire/frame.h"

namespace farcall::server {

class Capabilities {
 public:
  static constexpr std::uint64_t kAll = ~std::uint64_t{0};
  // The session's own family is granted always: without it there is none.
  explicit Capabilities(std::uint64_t families = kAll) : families_(families | 1) {}

  bool allow(std::uint16_t id) const { return (families_ & bit(id)) != 0; }
  bool is_first_refusal(std::uint16_t id) {
    return (told_.fetch_or(bit(id), std::memory_order_relaxed) & bit(id)) == 0;
  }
  // Before the session's first call.
  void grant(std::uint64_t families) { families_ = families | 1; }

 private:
  // A family without a bit is granted with all others or not at all; the table has no such yet.
  static std::uint64_t bit(std::uint16_t id) {
    const unsigned family = wire::family(id);
    return std::uint64_t{1} << (family < 64 ? family : 63);
  }
  std::uint64_t families_;
  std::atomic<std::uint64_t> told_{0};
};

}  // namespace farcall::server
