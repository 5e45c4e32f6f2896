// PageStates: which side has the current bytes of memory that program and device both touch.
//
//   PageStates states(bytes, PageState::kFresh);
//   for (auto run : states.dirty(0, bytes)) …copy to the device…;  states.lent();    // a launch
//   auto need = states.touch(offset, false);  …copy from the device…;  states.opened(need);
//
// Blocks of kMirrorBlockBytes, each in one of four states:
//
//   kFresh   the program may read and write it; which of its pages it wrote nobody has seen yet
//   kHost    the program may read and write it, and has written it: the device's bytes are old
//   kBoth    the program may read it: both sides have the same
//   kDevice  the program may not touch it: the device may have written it
//
//            touch to write              lend
//   kBoth ------------------> kHost --------------> kDevice      lend also from kFresh and kBoth
//   kDevice -- fetch, touch to read --> kBoth;  kDevice -- fetch, touch to write --> kHost
//
// Pure: it moves no bytes and protects no pages, so that every order of events can be tested.
// A move is decided first and noted when it has succeeded, so that a failed copy changes nothing.
// Owner: a Mirror.  Threads: one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace farcall::shim {

// What moves at once, in bytes: small enough that a touched word costs little to fetch, large
// enough that a gigabyte is 16384 states.
inline constexpr std::size_t kMirrorBlockBytes = 64 * 1024;
// Blocks moved by one touch of a program that goes on where its last one ended: 4 MiB.
inline constexpr std::size_t kMirrorAheadMax = 64;

enum class PageState : std::uint8_t { kFresh, kHost, kBoth, kDevice };

class PageStates {
 public:
  // Bytes from the start of the memory; whole blocks, cut off at its end.
  struct Run {
    std::size_t at = 0;
    std::size_t bytes = 0;
    bool is_fresh = false;
  };
  struct Need {
    Run run;  // 0 bytes: nothing, another thread's touch has been here
    bool fetch = false;
    bool is_write = false;
  };

  PageStates(std::size_t bytes, PageState all);

  // What the program's touch of the byte at `offset` (below bytes()) needs. A program that goes on
  // where the last need ended gets more at once, up to kMirrorAheadMax blocks.
  Need touch(std::size_t offset, bool is_write);
  // The need has been met.
  void opened(const Need& need);

  // What the device does not have yet of these bytes, in order; neighbours in one run.
  std::vector<Run> dirty(std::size_t at, std::size_t bytes) const;
  // The device has it all now, and these bytes (all blocks they lie in) are its own.
  void lent(std::size_t at, std::size_t bytes);
  // The device has it all now, and only reads: what the program had it may still read.
  void shared(std::size_t at, std::size_t bytes);
  // What the program may only read it has to fetch again.
  std::vector<Run> expire();
  // What of these bytes the program would have to fetch.
  std::vector<Run> missing(std::size_t at, std::size_t bytes) const;

  // Blocks the program may touch; 0: lending changes nothing.
  std::size_t held() const { return held_; }
  std::size_t bytes() const { return bytes_; }
  PageState at(std::size_t offset) const { return blocks_[offset / kMirrorBlockBytes]; }

 private:
  struct Ahead {
    std::size_t next = SIZE_MAX;  // block where the last need ended
    std::size_t blocks = 1;
  };
  Run run_of(std::size_t first, std::size_t end) const;
  void set(std::size_t block, PageState state);
  template <class Suits>
  std::vector<Run> runs(std::size_t at, std::size_t bytes, Suits suits) const;

  const std::size_t bytes_;
  std::vector<PageState> blocks_;
  std::size_t held_ = 0;
  Ahead reads_;
  Ahead writes_;
};

}  // namespace farcall::shim
