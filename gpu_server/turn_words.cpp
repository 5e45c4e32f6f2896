#include "gpu_server/turn_words.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

namespace farcall::server {
namespace {

constexpr std::uint32_t kOneChange = 4;  // above the bits of a Turn

// Between processes, so none of the standard library's own waits will do.
void futex(std::atomic<std::uint32_t>& word, int what, std::uint32_t value, const timespec* most) {
  (void)::syscall(SYS_futex, &word, what, value, most, nullptr, 0);
}

}  // namespace

void TurnWords::set_turn(std::size_t device, Turn turn) {
  std::atomic<std::uint32_t>& word = turns[device];
  const std::uint32_t number = (word.load() & ~(kOneChange - 1)) + kOneChange;
  word.store(number | static_cast<std::uint32_t>(turn));
  wake();
}

void TurnWords::wake() {
  changes.fetch_add(1);
  futex(changes, FUTEX_WAKE, INT_MAX, nullptr);
}

ShareArbiter::Word TurnWords::word(std::size_t device, std::size_t slots_used) const {
  const std::uint32_t now = turns[device];
  ShareArbiter::Word all{.is_in = false, .is_done = true};
  for (std::size_t slot = 0; slot < std::min(slots_used, limits::kLeaseSessionsMax); ++slot) {
    const Cell& cell = cells[slot][device];
    if (cell.is_in == 0) continue;
    all.is_in = true;
    all.is_done &= cell.done == now;
  }
  return all;
}

void TurnWords::clear(std::size_t slot) {
  for (Cell& cell : cells[slot]) cell.is_in = 0, cell.done = 0;
}

void TurnWords::await_change(std::uint32_t seen, std::int64_t ns) {
  timespec most{};
  most.tv_sec = ns / 1'000'000'000;
  most.tv_nsec = ns % 1'000'000'000;
  futex(changes, FUTEX_WAIT, seen, ns < 0 ? nullptr : &most);
}

}  // namespace farcall::server
