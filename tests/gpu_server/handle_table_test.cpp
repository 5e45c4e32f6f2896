#include "gpu_server/handle_table.h"

#include <doctest/doctest.h>

#include <vector>

namespace farcall::server {
namespace {

void* object(std::uintptr_t number) { return reinterpret_cast<void*>(number * 16); }
constexpr std::uint64_t kMine = 0x1234'5678;

TEST_CASE("a handle is found under its own kind only") {
  HandleTable table;
  std::uint64_t id = table.add(Kind::kEvent, object(1), 0).value();
  CHECK(table.find(Kind::kEvent, id) == object(1));
  CHECK(table.find(Kind::kStream, id) == nullptr);
  CHECK(table.find(Kind::kEvent, id + 1) == nullptr);
  CHECK(table.find(Kind::kEvent, 0) == nullptr);
  CHECK((id & api::kServerIdBit) != 0);
  CHECK(static_cast<std::int64_t>(id) > 0);
}

TEST_CASE("every id names the server that the client counts it to") {
  for (unsigned server : {0U, 5U, limits::kServersMax - 1}) {
    HandleTable table;
    table.mark(server);
    for (std::uintptr_t i = 1; i < 50; ++i) {
      const std::uint64_t id = table.add(Kind::kEvent, object(i), 0).value();
      CHECK(api::server_of(id) == server);
      CHECK((id & api::kServerIdBit) != 0);
    }
    CHECK(api::server_of(table.reserve(Kind::kContext).value()) == server);
  }
}

TEST_CASE("an object that is named twice keeps its id") {
  HandleTable table;
  std::uint64_t id = table.add(Kind::kContext, object(1), 0).value();
  CHECK(table.add(Kind::kContext, object(1), 0).value() == id);
  CHECK(table.add(Kind::kModule, object(1), 0).value() != id);
  CHECK(table.id_of(Kind::kContext, object(1)) == id);
}

TEST_CASE("a pointer that the driver uses again gets a new id") {
  HandleTable table;
  std::uint64_t id = table.add(Kind::kEvent, object(1), 0).value();
  table.drop(id);
  CHECK(table.find(Kind::kEvent, id) == nullptr);
  CHECK(table.add(Kind::kEvent, object(1), 0).value() != id);
}

TEST_CASE("a client's id is taken over once, and only from the client's range") {
  HandleTable table;
  CHECK(table.adopt(Kind::kEvent, kMine, object(1), 0).ok());
  CHECK(table.find(Kind::kEvent, kMine) == object(1));
  CHECK(table.adopt(Kind::kEvent, kMine, object(2), 0).code() == Code::kMalformed);
  for (std::uint64_t bad : {std::uint64_t{0}, std::uint64_t{2}, api::kServerIdBit | kMine}) {
    CHECK(table.adopt(Kind::kEvent, bad, object(3), 0).code() == Code::kMalformed);
    CHECK(table.taken(bad));
  }
  CHECK_FALSE(table.taken(kMine + 1));
}

TEST_CASE("what hangs on an object goes with it, and nothing else") {
  HandleTable table;
  std::uint64_t context = table.add(Kind::kContext, object(1), 0).value();
  std::uint64_t module = table.add(Kind::kModule, object(2), context).value();
  std::uint64_t function = table.add(Kind::kFunction, object(3), module).value();
  std::uint64_t stream = table.add(Kind::kStream, object(4), context).value();
  std::uint64_t other = table.add(Kind::kStream, object(5), 0).value();
  table.drop(module);
  CHECK(table.find(Kind::kFunction, function) == nullptr);
  CHECK(table.find(Kind::kStream, stream) == object(4));
  table.drop(context);
  CHECK(table.find(Kind::kStream, stream) == nullptr);
  CHECK(table.find(Kind::kStream, other) == object(5));
  CHECK(table.size() == 1);
}

TEST_CASE("siblings can be dropped in any order") {
  HandleTable table;
  std::uint64_t context = table.add(Kind::kContext, object(1), 0).value();
  std::vector<std::uint64_t> events;
  for (std::uintptr_t i = 2; i < 7; ++i) {
    events.push_back(table.add(Kind::kEvent, object(i), context).value());
  }
  for (std::size_t i : {2u, 0u, 4u, 3u, 1u}) {
    table.drop(events[i]);
    CHECK(table.find(Kind::kEvent, events[i]) == nullptr);
  }
  CHECK(table.size() == 1);
  table.drop(context);
  CHECK(table.size() == 0);
}

TEST_CASE("a reserved id finds its object when there is one, and forgets its dependants with it") {
  HandleTable table;
  std::uint64_t id = table.reserve(Kind::kContext).value();
  CHECK(table.find(Kind::kContext, id) == nullptr);
  table.fill(id, object(1));
  CHECK(table.find(Kind::kContext, id) == object(1));
  CHECK(table.add(Kind::kContext, object(1), 0).value() == id);
  std::uint64_t stream = table.add(Kind::kStream, object(2), id).value();
  table.fill(id, nullptr);
  CHECK(table.find(Kind::kContext, id) == nullptr);
  CHECK(table.find(Kind::kStream, stream) == nullptr);
  table.fill(id, object(1));
  CHECK(table.find(Kind::kContext, id) == object(1));
}

TEST_CASE("the table does not grow beyond its limit") {
  HandleTable table(2);
  CHECK(table.add(Kind::kEvent, object(1), 0).ok());
  CHECK(table.adopt(Kind::kEvent, kMine, object(2), 0).ok());
  CHECK(table.add(Kind::kEvent, object(3), 0).status().code() == Code::kOverQuota);
  CHECK(table.adopt(Kind::kEvent, kMine + 1, object(3), 0).code() == Code::kOverQuota);
  CHECK(table.reserve(Kind::kContext).status().code() == Code::kOverQuota);
  CHECK(table.add(Kind::kEvent, object(1), 0).ok());  // known already
}

TEST_CASE("draining shows every object once, dependants before what they hang on") {
  HandleTable table;
  std::uint64_t context = table.add(Kind::kContext, object(1), 0).value();
  std::uint64_t module = table.add(Kind::kModule, object(2), context).value();
  (void)table.add(Kind::kFunction, object(3), module);
  (void)table.reserve(Kind::kContext);  // nothing to show
  std::vector<Kind> seen;
  table.drain([&](Kind kind, void*) { seen.push_back(kind); });
  CHECK(seen == std::vector<Kind>{Kind::kFunction, Kind::kModule, Kind::kContext});
  CHECK(table.size() == 0);
}

}  // namespace
}  // namespace farcall::server
