// Ticket: 32 random bytes that stand for a permission, and are worth nothing without who made them.
// Threads: plain values.  Never printed.
#pragma once
#include <array>
#include <cstddef>

namespace farcall {

using Ticket = std::array<std::byte, 32>;

// Without telling by its time how much of them is the same.
inline bool is_same_ticket(const Ticket& a, const Ticket& b) {
  std::byte differs{0};
  for (std::size_t i = 0; i < a.size(); ++i) differs |= a[i] ^ b[i];
  return differs == std::byte{0};
}

}  // namespace farcall
