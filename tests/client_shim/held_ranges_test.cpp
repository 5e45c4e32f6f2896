// Real mappings at addresses that this process had free a moment ago.
#include "client_shim/held_ranges.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

using namespace farcall::shim;

namespace {

constexpr std::uint64_t kStep = HeldRanges::kStepBytes;

// The start of a step with a few free ones behind it.
std::uint64_t free_steps() {
  void* room = ::mmap(nullptr, 8 * kStep, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(room != MAP_FAILED);
  ::munmap(room, 8 * kStep);
  return (reinterpret_cast<std::uint64_t>(room) + kStep - 1) / kStep * kStep;
}

bool map_page(std::uint64_t address) {
  void* got = ::mmap(reinterpret_cast<void*>(address), 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  return got == reinterpret_cast<void*>(address);
}

void unmap(std::uint64_t first, std::uint64_t bytes) {
  ::munmap(reinterpret_cast<void*>(first), bytes);
}

}  // namespace

TEST_CASE("where the device has memory, this process gets none") {
  const std::uint64_t at = free_steps();
  HeldRanges ranges;
  ranges.hold(at + kStep + 5, 100);
  CHECK(!map_page(at + kStep));
  CHECK(!map_page(at + 2 * kStep - 4096));  // the whole step
  CHECK(map_page(at + 2 * kStep));
  CHECK(map_page(at + kStep - 4096));
  unmap(at, 3 * kStep);
}

TEST_CASE("what the program has stays, and around it the device's is held") {
  const std::uint64_t at = free_steps();
  REQUIRE(map_page(at + 4096));
  *reinterpret_cast<volatile char*>(at + 4096) = 5;
  HeldRanges ranges;
  ranges.hold(at + 3 * 4096, 2 * 4096);
  CHECK(*reinterpret_cast<volatile char*>(at + 4096) == 5);
  CHECK(!map_page(at + 3 * 4096));
  CHECK(!map_page(at + 4 * 4096));
  CHECK(map_page(at + 5 * 4096));  // only what was asked for
  ranges.hold(at, 3 * 4096);       // over the program's
  CHECK(*reinterpret_cast<volatile char*>(at + 4096) == 5);
  unmap(at, kStep);
}

TEST_CASE("pages of ours find place where nothing else does, and the rest stays held") {
  const std::uint64_t at = free_steps();
  HeldRanges ranges;
  ranges.hold(at, 2 * kStep);
  ranges.give_way(at + kStep - 4096, 2 * 4096);
  CHECK(map_page(at + kStep - 4096));
  CHECK(map_page(at + kStep));
  CHECK(!map_page(at + kStep - 2 * 4096));
  CHECK(!map_page(at + kStep + 4096));
  // Absurd ranges are nobody's.
  ranges.hold(UINT64_MAX - 5, 100);
  ranges.hold(at, UINT64_MAX);
  ranges.hold(0, 0);
  unmap(at, 2 * kStep);
}
