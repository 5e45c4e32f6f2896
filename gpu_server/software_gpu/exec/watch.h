// Watch: what is known of device memory beyond its contents: which bytes have been written, what is
// allocated and what was freed lately.
//
//   watch.add_reservation(base, bytes);        // a Memory: all its addresses
//   watch.note_allocated(a, 1024);             // nobody has written it
//   watch.note_written(a, 16);
//   std::uint8_t* marks = watch.marks(a, 4);   // → 1 1 1 1
//
// There is one mark per byte of a reservation, on pages that exist once they are touched: watched
// memory takes twice its room. Bytes rather than bits, so that threads which write neighbours need
// no atomics. Addresses outside (host memory) have no marks and count as written.
// Freed addresses are held back, oldest given out first, so that their use is noticed.
// Owner: Checker.  Threads: any; of a byte that two threads touch without order, either state may
// be seen.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "transport/base/guarded.h"

namespace farcall::softgpu {

class Watch {
 public:
  struct Range {
    std::uint64_t base = 0, bytes = 0;
  };
  static constexpr std::size_t kReservationsMax = 64;  // devices of a process, and of its tests

  Watch() = default;
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Where there is no room for marks, or beyond so many, everything counts as written.
  void add_reservation(std::uint64_t base, std::uint64_t bytes);
  void drop_reservation(std::uint64_t base);  // nobody uses its memory any more
  void note_allocated(std::uint64_t base, std::uint64_t bytes);
  void note_freed(std::uint64_t base);
  void note_written(std::uint64_t address, std::uint64_t bytes);
  // The marks of these bytes, one each, or null outside.
  std::uint8_t* marks(std::uint64_t address, std::uint64_t bytes) const;

  // Takes freed pages of a reservation, and gives those of it back that were held long enough.
  std::vector<Range> hold_back(std::uint64_t base, std::uint64_t bytes);

  // The allocations that begin last before an address and first behind it, and the freed one
  // around it.
  struct Surroundings {
    std::optional<Range> before, behind, freed;
  };
  Surroundings around(std::uint64_t address) const;

 private:
  static constexpr std::size_t kFreedMax = 4096;
  struct Marks {
    std::atomic<std::uint64_t> base{0};
    std::uint64_t bytes = 0;  // 0: this place is free
    std::uint8_t* first = nullptr;
  };
  struct Held {
    std::deque<Range> ranges;
    std::uint64_t bytes = 0, bytes_max = 0;
  };
  struct Book {
    std::map<std::uint64_t, Range> allocated;
    std::deque<Range> freed;
    std::map<std::uint64_t, Held> held_back;  // by base of a reservation
  };
  std::array<Marks, kReservationsMax> marks_;
  std::atomic<std::size_t> reservations_{0};
  mutable Guarded<Book> book_;
};

}  // namespace farcall::softgpu
