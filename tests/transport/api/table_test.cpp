// The table as a whole: its ids, its fingerprint, its driver.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "transport/api/dispatch.h"
#include "transport/api/families.h"
#include "transport/api/scratch.h"
#include "transport/api/sizes.h"

using namespace farcall;
using namespace farcall::api;

TEST_CASE("every id leads to its row, and every other id to none") {
  int rows = 0;
  for (unsigned id = 0; id <= 0xffff; ++id) {
    const ServedRow* row = find_row(static_cast<std::uint16_t>(id));
    if (row == nullptr) continue;
    CHECK(row->info.id == id);
    ++rows;
  }
  int listed = 0;
  for (unsigned family = 0; family <= 0xff; ++family) {
    listed += static_cast<int>(family_rows(static_cast<std::uint8_t>(family)).size());
  }
  CHECK(rows == listed);
  CHECK(rows > 200);
  CHECK(find_row(0xffff) == nullptr);
}

TEST_CASE("the fingerprint is the same at each call and no two families share one") {
  CHECK(table_fingerprint() == table_fingerprint());
  CHECK(table_fingerprint() != 0);
  std::set<std::uint64_t> all;
  for (auto* family : kFamilies) all.insert(family().fingerprint);
  CHECK(all.size() == std::size(kFamilies));
}

TEST_CASE("a row that may wait says so, and a queued row has nothing to answer") {
  CHECK(find_row(0x0804)->info.when == When::Waits);
  CHECK(std::string(find_row(0x0804)->info.name) == "cuStreamSynchronize");
  CHECK((find_row(0x0601)->run == nullptr));  // hand-written
}

TEST_CASE("a driver is filled by name, and what it lacks stays null") {
  Driver driver;
  std::set<std::string> asked;
  int found = load_driver(driver, [&](const char* symbol) -> void* {
    asked.insert(symbol);
    return std::string(symbol) == "cuMemAlloc_v2" ? static_cast<void*>(&driver) : nullptr;
  });
  CHECK(found == 1);
  CHECK(reinterpret_cast<void*>(driver.cuMemAlloc_v2) == &driver);
  CHECK((driver.cuMemFree_v2 == nullptr));
  CHECK(asked.contains("cuLaunchKernel"));
  CHECK(asked.contains("cuDeviceGetName"));
  CHECK_FALSE(asked.contains("cuLaunchKernel_ptsz"));
}

TEST_CASE("values behind a void* have the sizes that cuda.h gives them") {
  CHECK(pool_attribute_bytes(CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC) == 4);
  CHECK(pool_attribute_bytes(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == 8);
  CHECK(pool_attribute_bytes(99) == 0);
  CHECK(graph_memory_attribute_bytes(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) == 8);
  CHECK(graph_memory_attribute_bytes(~std::uint64_t{0}) == 0);
  CHECK(pointer_attribute_set_bytes(CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) == 4);
  // An event inside is a handle: it must not travel as plain bytes.
  CHECK(stream_attribute_bytes(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT) == 0);
  CHECK(node_attribute_bytes(CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) == 0);
}

TEST_CASE("scratch is zeroed, aligned, bounded and wiped") {
  alignas(128) std::byte room[512];
  std::memset(room, 0xee, sizeof(room));
  Scratch scratch(room);
  auto* first = static_cast<std::byte*>(scratch.take(3));
  REQUIRE(first != nullptr);
  CHECK(first[2] == std::byte{0});
  auto* second = scratch.array<std::uint64_t>(16);
  REQUIRE(second != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(second) % 128 == 0);
  second[15] = 42;
  CHECK(scratch.take(512) == nullptr);
  CHECK(scratch.array<std::uint64_t>(SIZE_MAX) == nullptr);
  scratch.clear();
  CHECK(second[15] == 0);
  CHECK(scratch.take(512) != nullptr);
}

TEST_CASE("each kind of handle has a name") {
  std::set<std::string> names;
  for (int kind = 0; kind < kKinds; ++kind) names.insert(kind_name(static_cast<Kind>(kind)));
  CHECK(names.size() == kKinds);
}
