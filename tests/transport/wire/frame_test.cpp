#include "transport/wire/frame.h"

#include <doctest/doctest.h>

using namespace farcall::wire;

namespace {
FrameHeader good() { return {.id = 0x0801, .flags = kWantsReply, .body_bytes = 8, .call = 1}; }
}  // namespace

TEST_CASE("a header is sixteen little-endian bytes in the order it is declared") {
  FrameHeader head{.id = 0x0102, .flags = 4, .body_bytes = 0x11121314, .call = 5, .thread = 6};
  const auto* bytes = reinterpret_cast<const unsigned char*>(&head);
  CHECK(bytes[0] == 0x02);
  CHECK(bytes[1] == 0x01);
  CHECK(bytes[2] == 4);
  CHECK(bytes[4] == 0x14);
  CHECK(bytes[8] == 5);
  CHECK(bytes[12] == 6);
}

TEST_CASE("the high byte of an id is its family") {
  CHECK(family(0x0801) == 0x08);
  CHECK(family(0x00ff) == 0x00);
}

TEST_CASE("a header that a correct peer sends is valid") {
  CHECK(is_valid(good()));
  FrameHeader reply = good();
  reply.flags = kReply | kBulkFollows;
  CHECK(is_valid(reply));
}

TEST_CASE("a header with an unknown flag, no id, no call or a long body is not valid") {
  FrameHeader head = good();
  head.flags = 8;
  CHECK_FALSE(is_valid(head));
  head = good();
  head.flags = kReply | kWantsReply;
  CHECK_FALSE(is_valid(head));
  head = good();
  head.id = 0;
  CHECK_FALSE(is_valid(head));
  head = good();
  head.call = 0;
  CHECK_FALSE(is_valid(head));
  head = good();
  head.body_bytes = farcall::limits::kFrameBodyBytesMax;
  CHECK(is_valid(head));
  ++head.body_bytes;
  CHECK_FALSE(is_valid(head));
}

TEST_CASE("a notice answers no call") {
  FrameHeader notice = good();
  notice.call = 0;
  notice.flags = kReply;
  CHECK(is_valid(notice));
}

TEST_CASE("a described header names the row and the lengths") {
  CHECK(describe(good()) == "id 0x0801 flags 0x2 call 1 thread 0 body 8 bytes");
}
