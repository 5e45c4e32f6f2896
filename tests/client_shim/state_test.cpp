// What the shim remembers: snapshot, allocations, functions, contexts, settings, symbols.
#include <doctest/doctest.h>

#include <cstdlib>

#include "client_shim/allocations.h"
#include "client_shim/functions.h"
#include "client_shim/settings.h"
#include "client_shim/shape.h"
#include "client_shim/snapshot.h"
#include "client_shim/symbols.h"
#include "transport/cuda/entry_points.h"
#include "transport/wire/writer.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

// The open reply of a server with one device.
std::vector<std::byte> snapshot_bytes(std::uint32_t devices, std::uint32_t attributes) {
  std::vector<std::byte> room(4096);
  wire::Writer out(room);
  out.put(api::hand::OpenReply{13000, devices, attributes});
  api::hand::DeviceFacts facts{};
  facts.primary_context = 5;
  facts.memory_bytes = 1 << 20;
  std::memcpy(facts.name, "A device", 9);
  out.put(facts);
  for (std::uint32_t i = 1; i <= attributes; ++i) {
    out.put(i == 3 ? api::hand::kNoAttribute : static_cast<std::int32_t>(i * 10));
  }
  room.resize(out.size());
  return room;
}

Allocation allocation(std::uint64_t address, std::uint64_t bytes, Memory memory) {
  Allocation made;
  made.address = address;
  made.bytes = bytes;
  made.memory = memory;
  return made;
}

}  // namespace

TEST_CASE("a snapshot gives each device's facts") {
  auto bytes = snapshot_bytes(1, 5);
  wire::Reader in(bytes);
  auto snapshot = parse_snapshot(in);
  REQUIRE(snapshot.ok());
  const Device* device = snapshot.value().device(0);
  REQUIRE(device != nullptr);
  CHECK(device->name == "A device");
  CHECK(device->attribute(2) == 20);
  CHECK(!device->attribute(3).has_value());
  CHECK(!device->attribute(6).has_value());
  CHECK(!device->attribute(0).has_value());
  CHECK(snapshot.value().device(1) == nullptr);
  CHECK(snapshot.value().device(-1) == nullptr);
}

TEST_CASE("a snapshot cut short or out of bounds is refused") {
  auto bytes = snapshot_bytes(1, 5);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    std::span<const std::byte> all(bytes);
    wire::Reader in(all.first(length));
    CHECK_FALSE(parse_snapshot(in).ok());
  }
  for (auto [devices, attributes] : {std::pair{65U, 5U}, {1U, 100'000U}, {2U, 5U}}) {
    auto wrong = snapshot_bytes(1, 5);
    api::hand::OpenReply head{13000, devices, attributes};
    std::memcpy(wrong.data(), &head, sizeof head);
    wire::Reader in(wrong);
    CHECK_FALSE(parse_snapshot(in).ok());
  }
}

TEST_CASE("an address is found by any byte inside its allocation") {
  Allocations allocations;
  allocations.add(allocation(0x1000, 0x100, Memory::kDevice));
  CHECK(allocations.find_device(0x1000)->address == 0x1000);
  CHECK(allocations.find_device(0x10ff)->address == 0x1000);
  CHECK_FALSE(allocations.find_device(0x1100).has_value());
  CHECK_FALSE(allocations.find_device(0xfff).has_value());
  CHECK(allocations.take_device(0x1000).has_value());
  CHECK_FALSE(allocations.find_device(0x1000).has_value());
}

TEST_CASE("a device address that equals a host address means the device") {
  Allocations allocations;
  allocations.add(allocation(0x1000, 0x100, Memory::kHost));
  CHECK(allocations.find(0x1010)->memory == Memory::kHost);
  allocations.add(allocation(0x1000, 0x100, Memory::kDevice));
  CHECK(allocations.find(0x1010)->memory == Memory::kDevice);
  CHECK(allocations.find_host(0x1010).has_value());
}

TEST_CASE("an allocation replaces what it overlaps") {
  Allocations allocations;
  allocations.add(allocation(0x1000, 0x100, Memory::kDevice));
  allocations.add(allocation(0x2000, 0x100, Memory::kDevice));
  allocations.add(allocation(0x1080, 0x1000, Memory::kDevice));
  CHECK_FALSE(allocations.find_device(0x1000).has_value());
  CHECK(allocations.find_device(0x2010)->address == 0x1080);
}

TEST_CASE("a module's variables go with the module") {
  Allocations allocations;
  Allocation global = allocation(0x1000, 4, Memory::kGlobal);
  global.owner = 9;
  allocations.add(global);
  allocations.drop_owner(8);
  CHECK(allocations.find_device(0x1000).has_value());
  allocations.drop_owner(9);
  CHECK_FALSE(allocations.find_device(0x1000).has_value());
}

TEST_CASE("functions are found by id and by name until their owner goes") {
  Functions functions;
  FunctionFacts facts;
  facts.id = 3;
  facts.owner = 7;
  facts.name = "kernel";
  functions.add(facts);
  REQUIRE(functions.find(3) != nullptr);
  CHECK(functions.find_named(7, "kernel") == functions.find(3));
  CHECK(functions.find_named(8, "kernel") == nullptr);
  FunctionRefs held = functions.find(3);
  functions.drop_owner(7);
  CHECK(functions.find(3) == nullptr);
  CHECK(functions.find_named(7, "kernel") == nullptr);
  CHECK(held->name == "kernel");
}

TEST_CASE("a function's facts with an impossible parameter list are refused") {
  std::vector<std::byte> room(256);
  wire::Writer out(room);
  out.put(api::hand::FunctionFacts{1, {1024}, 2, 0});
  out.put(std::uint32_t{8});
  out.put(static_cast<std::uint32_t>(limits::kKernelParamBytesMax));
  wire::Reader too_long(out.view());
  parse_function(too_long);
  CHECK(too_long.failed());
  wire::Reader cut(out.view().first(out.size() - 1));
  parse_function(cut);
  CHECK(cut.failed());
}

TEST_CASE("every entry point that a program may ask for is an export of this library") {
  int missing = 0;
  for (const cuda::EntryPoint& entry : cuda::entry_points()) {
    if (find_symbol(entry.symbol) == nullptr) ++missing;
    CAPTURE(entry.symbol);
    CHECK(find_symbol(entry.symbol) != nullptr);
  }
  CHECK(missing == 0);
  CHECK(find_symbol("cuMemAlloc_v2") == reinterpret_cast<void*>(&cuMemAlloc_v2));
  CHECK(find_symbol("cuNoSuchFunction") == nullptr);
}

TEST_CASE("a pitched copy becomes one shape, whatever memory types it names") {
  Allocations allocations;
  allocations.add(allocation(0x1000, 0x1000, Memory::kDevice));
  char host[64];
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
  copy.srcDevice = 0x1000;
  copy.srcPitch = 32;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = host;
  copy.WidthInBytes = 8;
  copy.Height = 4;
  Shape shape;
  REQUIRE(shape_of(allocations, copy, &shape) == CUDA_SUCCESS);
  CHECK(shape.from.place == Place::kDevice);
  CHECK(shape.to.place == Place::kHost);
  CHECK(shape.to.pitch == 8);
  CHECK(shape.from.row_at(2, 0) == 0x1040);
  copy.srcPitch = 4;
  CHECK(shape_of(allocations, copy, &shape) == CUDA_ERROR_INVALID_VALUE);
  copy.srcPitch = 32;
  copy.dstHost = nullptr;
  CHECK(shape_of(allocations, copy, &shape) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("settings name what is missing") {
  for (const char* name : {"FARCALL_SERVER", "FARCALL_CERT", "FARCALL_KEY", "FARCALL_CA"}) {
    ::unsetenv(name);
  }
  CHECK(settings_from_environment().status().code() == Code::kNotFound);
  ::setenv("FARCALL_SERVER", "host:1", 1);
  Status missing = settings_from_environment().status();
  CHECK(missing.code() == Code::kUnsupported);
  CHECK(missing.text().find("FARCALL_CERT") != std::string::npos);
  for (const char* name : {"FARCALL_CERT", "FARCALL_KEY", "FARCALL_CA"}) ::setenv(name, "x", 1);
  ::setenv("FARCALL_STRICT", "1", 1);
  auto settings = settings_from_environment();
  REQUIRE(settings.ok());
  CHECK(settings.value().strict);
  ::unsetenv("FARCALL_SERVER");
  ::unsetenv("FARCALL_STRICT");
}
