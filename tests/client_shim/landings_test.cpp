// Landings against a server that sends what it should not.
#include "client_shim/landings.h"

#include <doctest/doctest.h>

#include <vector>

#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/wire/writer.h"

namespace farcall::shim {
namespace {

struct Notice {
  std::uint32_t status = CUDA_SUCCESS;
  std::uint64_t bytes = 0;
  std::uint64_t landing = 0;
  std::size_t inline_bytes = 0;
  std::uint16_t flags = wire::kReply;
};

Status land(Landings& landings, const Notice& notice) {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  std::vector<std::byte> text(notice.inline_bytes, std::byte{9});
  wire::FrameHeader head{.id = api::row::copy_landed::info().id, .flags = notice.flags};
  auto encode = [&](wire::Writer& out) {
    out.put(notice.status);
    out.put(notice.bytes);
    out.put(api::hand::CopyLanded{notice.landing});
    out.bytes(text.data(), text.size());
  };
  REQUIRE(pair.value().server->post(head, link::Flush::kNow, encode).ok());
  auto frame = pair.value().client->receive(Deadline::never());
  REQUIRE(frame.ok());
  return landings.land(frame.value(), *pair.value().client);
}

TEST_CASE("only what was asked for lands, and only once") {
  std::byte memory[16] = {};
  Landings landings;
  std::uint64_t mine = landings.expect(memory, 8);
  REQUIRE(mine != 0);
  CHECK(land(landings, {.bytes = 8, .landing = mine + 1, .inline_bytes = 8}).code() ==
        Code::kMalformed);
  CHECK(land(landings, {.bytes = 9, .landing = mine, .inline_bytes = 9}).code() ==
        Code::kMalformed);
  CHECK(land(landings, {.bytes = 8, .landing = mine, .inline_bytes = 7}).code() ==
        Code::kMalformed);
  CHECK(land(landings, {.bytes = 8, .landing = mine, .inline_bytes = 9}).code() ==
        Code::kMalformed);
  CHECK(land(landings, {.status = CUDA_ERROR_UNKNOWN, .bytes = 8, .landing = mine}).code() ==
        Code::kMalformed);
  CHECK(memory[0] == std::byte{0});
  CHECK(landings.any());
  CHECK(land(landings, {.bytes = 8, .landing = mine, .inline_bytes = 8}).ok());
  CHECK(memory[7] == std::byte{9});
  CHECK(memory[8] == std::byte{0});
  CHECK_FALSE(landings.any());
  CHECK(land(landings, {.bytes = 8, .landing = mine, .inline_bytes = 8}).code() ==
        Code::kMalformed);
}

TEST_CASE("a failed copy leaves its memory alone") {
  std::byte memory[8] = {};
  Landings landings;
  std::uint64_t mine = landings.expect(memory, 8);
  CHECK(land(landings, {.status = CUDA_ERROR_UNKNOWN, .landing = mine}).ok());
  CHECK(memory[0] == std::byte{0});
  CHECK_FALSE(landings.any());
}

TEST_CASE(
    "room is given back when a copy lands or is cancelled, and never after the link is gone") {
  std::vector<std::byte> memory(limits::kLateCopyBytesMax);
  Landings landings;
  std::vector<std::uint64_t> all;
  while (std::uint64_t one = landings.expect(memory.data(), memory.size())) all.push_back(one);
  CHECK(all.size() == limits::kLateBytesMax / limits::kLateCopyBytesMax);
  CHECK(landings.expect(memory.data(), 1) == 0);
  landings.cancel(all.back());
  CHECK(landings.expect(memory.data(), 1) != 0);
  landings.fail_all();
  landings.wait_clear(memory.data(), memory.size());
  CHECK(landings.expect(memory.data(), 1) == 0);
}

}  // namespace
}  // namespace farcall::shim
