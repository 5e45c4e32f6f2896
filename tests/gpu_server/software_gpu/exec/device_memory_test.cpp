// The device memory itself: what can be had, what is kept for the next, what is wiped.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

TEST_CASE("device memory is limited, reused, and wiped between owners") {
  auto memory = std::move(Memory::create(std::size_t{1} << 20)).value();
  CHECK(memory->allocate(0).status().code() == Code::kUnsupported);
  CHECK(memory->allocate(std::size_t{2} << 20).status().code() == Code::kOverQuota);
  const u64 first = memory->allocate(700 * 1024, 65536).value();
  CHECK(first % 65536 == 0);
  CHECK(memory->allocate(700 * 1024).status().code() == Code::kOverQuota);
  *reinterpret_cast<u32*>(first) = 99;
  CHECK(memory->used() == 700 * 1024);
  REQUIRE(memory->release(first).ok());
  CHECK(memory->used() == 0);
  for (int n = 0; n < 100; ++n) {
    const u64 again = memory->allocate(900 * 1024).value();
    CHECK(*reinterpret_cast<u32*>(again) == 0);
    *reinterpret_cast<u32*>(again) = 99;
    REQUIRE(memory->release(again).ok());
  }
  const u64 small = memory->allocate(4096).value();
  *reinterpret_cast<u32*>(small) = 99;
  REQUIRE(memory->release(small).ok());
  CHECK(memory->used() == 0);
  CHECK(!memory->find(small).has_value());
  CHECK(memory->release(small).code() == Code::kNotFound);
  CHECK(memory->allocate(4096).value() == small);  // kept for the next of its size
  CHECK(*reinterpret_cast<u32*>(small) == 0);
  REQUIRE(memory->release(small).ok());
  const u64 pinned = memory->allocate(4096).value();
  {
    const Memory::Pin pin(*memory);
    REQUIRE(memory->release(pinned).ok());
    CHECK(!memory->find(pinned).has_value());
    *reinterpret_cast<volatile u32*>(pinned) = 1;  // a launch that still runs may touch it
  }
}

TEST_CASE("what is kept for small allocations never stands in the way of a large one") {
  auto memory = std::move(Memory::create(std::size_t{1} << 20)).value();
  std::vector<u64> all;
  for (int n = 0; n < 16; ++n) all.push_back(memory->allocate(60 * 1024).value());
  for (const u64 one : all) REQUIRE(memory->release(one).ok());
  for (int n = 0; n < 20; ++n) {
    const auto large = memory->allocate(1 << 20, 1 << 20);
    REQUIRE(large.ok());
    *reinterpret_cast<u32*>(large.value()) = 1;
    REQUIRE(memory->release(large.value()).ok());
  }
}

}  // namespace
}  // namespace farcall::softgpu::test
