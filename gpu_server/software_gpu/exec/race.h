// RaceBook: which accesses of a block's shared memory nothing puts in order.
//
//   RaceBook book(warps, shared_bytes, 2);                   // by words of 4 bytes
//   if (auto other = book.write({warp, lane, i}, at, 4, value, false)) …   // races with *other
//   book.barrier();                                          // bar.sync of the whole block
//
// Two accesses of different threads race when one of them writes, not both are strong (atomic,
// volatile, relaxed, acquire, release), and no chain of these leads from one to the other:
//   - barriers of the block, also those of some warps only, bar.arrive and mbarriers;
//   - bar.warp.sync, and every other .sync instruction across lanes, among the lanes it names;
//   - strong accesses: each one hands over all that its warp knows at an address, and takes what
//     was handed over there. Fences are not asked for.
// Lanes of a warp are threads of their own: that they run in step orders nothing. Stores of what
// another thread has just stored there do not race with it.
// Time is counted per warp, knowledge kept from warp to warp and within a warp from lane to lane.
// Where that is coarser than the rules above (a lane that learns of another warp tells its own
// warp at once), a race may be missed; none is made up. Of readers two are remembered.
// Owner: BlockCheck.  Threads: one.
// Source: PTX ISA 9.0, Memory Consistency Model; FastTrack (Flanagan and Freund, PLDI 2009).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace farcall::softgpu {

struct Ins;

class RaceBook {
 public:
  struct Who {
    unsigned warp;
    unsigned lane;
    const Ins* at;
  };
  // The other access.
  struct Other {
    unsigned thread;
    const Ins* at;
    bool wrote;
  };

  // cell_log2: bytes that are told apart, 0 or 2.
  RaceBook(unsigned warps, std::uint32_t shared_bytes, unsigned cell_log2);

  std::optional<Other> read(const Who& who, std::uint32_t offset, std::uint32_t bytes, bool strong);
  // `value`: the bytes to be written, or null when they are not known.
  std::optional<Other> write(const Who& who, std::uint32_t offset, std::uint32_t bytes,
                             const std::byte* value, bool strong);

  void sync_lanes(unsigned warp, std::uint32_t lanes, std::uint32_t live);
  // What the warp knows becomes known at an object: an address, or one of the block's barriers.
  void release(unsigned warp, std::uint64_t object);
  void acquire(unsigned warp, std::uint64_t object);
  void barrier();  // every warp knows everything: also what begins a new block

 private:
  static constexpr unsigned kWarps = 32;
  static constexpr unsigned kLanesOfWarp = 32;
  // Beyond so many addresses all others share one object.
  static constexpr std::size_t kObjectsMax = 65536;
  using Times = std::array<std::uint32_t, kWarps>;
  using Rows = std::array<std::array<std::uint32_t, kLanesOfWarp>, kLanesOfWarp>;

  struct Access {
    const Ins* at = nullptr;  // null: none yet
    std::uint32_t time = 0;
    std::uint32_t value = 0;
    std::uint16_t thread = 0;
    bool known_value = false;
  };
  // Strong accesses are kept apart: they race with others only, and must not hide a thread's own.
  struct Cell {
    Access write, strong_write;
    Access reads[2], strong_read;
  };

  bool is_ordered(const Access& access, const Who& who) const;
  bool races(const Access& access, const Who& who) const {
    return access.at != nullptr && !is_ordered(access, who);
  }
  void remember_read(Cell& cell, const Who& who, bool strong);
  Times& object(std::uint64_t address);

  const unsigned warps_;
  const unsigned cell_log2_;
  std::vector<Cell> cells_;
  Times now_{};                        // of each warp
  std::array<Times, kWarps> known_{};  // known_[w][v]: w knows v up to there; [w][w]: every lane
  std::vector<Rows> rows_;             // rows_[w][a][b]: lane a knows lane b up to there
  std::unordered_map<std::uint64_t, Times> objects_;
};

}  // namespace farcall::softgpu
