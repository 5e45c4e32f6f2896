#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <span>

#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

using farcall::wire::Reader;
using farcall::wire::Writer;

TEST_CASE("what a writer puts, a reader gets") {
  std::array<std::byte, 64> room{};
  Writer out(room);
  out.put(std::uint32_t{7});
  out.put(-2.5);
  out.bytes("abc", 3);
  REQUIRE(out.ok());
  Reader in(out.view());
  CHECK(in.get<std::uint32_t>() == 7);
  CHECK(in.get<double>() == -2.5);
  auto text = in.bytes(3);
  CHECK(std::memcmp(text.data(), "abc", 3) == 0);
  CHECK(in.done());
}

TEST_CASE("a writer never leaves its buffer and stays failed") {
  std::array<std::byte, 8> room{};
  Writer out(std::span<std::byte>(room).first(6));
  out.put(std::uint32_t{1});
  out.put(std::uint32_t{2});  // does not fit: not even its first half is written
  CHECK_FALSE(out.ok());
  CHECK(out.size() == 4);
  CHECK(out.left() == 0);
  out.put(std::uint8_t{3});  // would fit, but a body with a hole is no body
  CHECK(out.size() == 4);
  CHECK(room[4] == std::byte{0});
  CHECK(out.room(1).empty());
}

TEST_CASE("a writer fills its buffer to the last byte") {
  std::array<std::byte, 4> room{};
  Writer out(room);
  out.put(std::uint32_t{1});
  CHECK(out.ok());
  CHECK(out.left() == 0);
  out.bytes(nullptr, 0);
  CHECK(out.ok());
  CHECK(out.size() == 4);
}

TEST_CASE("a rewound writer starts over from there") {
  std::array<std::byte, 8> room{};
  Writer out(room);
  out.put(std::uint32_t{1});
  out.bytes("too long for it", 15);
  CHECK_FALSE(out.ok());
  out.rewind(0);
  CHECK(out.ok());
  out.put(std::uint32_t{9});
  CHECK(Reader(out.view()).get<std::uint32_t>() == 9);
  out.rewind(6);  // more than there is: nothing to take back
  CHECK(out.size() == 4);
}

TEST_CASE("a reader gives zeros after the end and stays failed") {
  std::array<std::byte, 6> bytes{};
  bytes.fill(std::byte{0xff});
  Reader in(bytes);
  CHECK(in.get<std::uint32_t>() == 0xffffffff);
  CHECK(in.get<std::uint32_t>() == 0);
  CHECK(in.failed());
  CHECK(in.get<std::uint8_t>() == 0);  // two bytes are left, but the body is already wrong
  CHECK(in.bytes(0).empty());
  CHECK(in.rest().empty());
  CHECK(in.left() == 0);
  CHECK_FALSE(in.done());
}

TEST_CASE("a length from a peer cannot make a reader leave its bytes") {
  std::array<std::byte, 8> bytes{};
  Reader in(bytes);
  CHECK(in.bytes(SIZE_MAX).empty());
  CHECK(in.failed());
}

TEST_CASE("a reader is done when all is read and not before") {
  std::array<std::byte, 4> bytes{};
  Reader in(bytes);
  CHECK_FALSE(in.done());
  CHECK(in.rest().size() == 4);
  CHECK(in.done());
  in.fail();
  CHECK_FALSE(in.done());
  CHECK(Reader({}).done());
}
