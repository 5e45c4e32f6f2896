#include "transport/cuda/integrity.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace farcall::cuda;

namespace {

std::string hex(const Md2& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::span<const std::uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

IntegrityFacts facts() {
  IntegrityFacts facts{};
  facts.driver_version = 13000;
  facts.process = 4711;
  facts.thread = 0x89abcdef;
  facts.cudart_table = 0x7f0000001000;
  facts.integrity_table = 0x7f0000002000;
  facts.check_function = 0x7f0000003000;
  facts.unix_seconds = 1700000000;
  facts.devices.resize(2);
  for (std::size_t i = 0; i < 16; ++i) {
    facts.devices[0].uuid[i] = static_cast<std::byte>(i);
    facts.devices[1].uuid[i] = static_cast<std::byte>(16 + i);
  }
  const std::int32_t first[3] = {0, 65, 3}, second[3] = {1, 2, 0};
  std::copy(first, first + 3, facts.devices[0].pci);
  std::copy(second, second + 3, facts.devices[1].pci);
  return facts;
}

}  // namespace

TEST_CASE("MD2 gives the digests of RFC 1319") {
  CHECK(hex(md2(bytes(""))) == "8350e5a3e24c153df2275c9f80692773");
  CHECK(hex(md2(bytes("a"))) == "32ec01ec4a6dac72c0ab96fb34c0b5d1");
  CHECK(hex(md2(bytes("abc"))) == "da853b0d3f88d99b30283a69e6ded6bb");
  CHECK(hex(md2(bytes("message digest"))) == "ab4f496bfb2a530b219ff33031fe06b0");
  CHECK(hex(md2(bytes("abcdefghijklmnopqrstuvwxyz"))) == "4e8ddff3650292ab5a4108c3aa47940b");
  CHECK(hex(md2(bytes("1234567890123456789012345678901234567890"
                      "1234567890123456789012345678901234567890"))) ==
        "d5976f79d83d3a0dc9806c3c66f3efd8");
}

TEST_CASE("versions that end in 0 and 1 have fixed answers") {
  std::uint64_t answer[2];
  integrity_answer(13000, facts(), answer);
  CHECK(answer[0] == 0x3341181C03CB675C);
  CHECK(answer[1] == 0x8ED383AA1F4CD1E8);
  integrity_answer(13001, facts(), answer);
  CHECK(answer[0] == 0x1841181C03CB675C);
  CHECK(answer[1] == 0x8ED383AA1F4CD1E8);
}

TEST_CASE("other versions get the keyed hash of all facts") {
  std::uint64_t answer[2];
  integrity_answer(13002, facts(), answer);
  // Computed by a second implementation, in Python.
  CHECK(answer[0] == 0x92ad582661663dbc);
  CHECK(answer[1] == 0xce610b6db4e1b35d);
  IntegrityFacts other = facts();
  other.devices[1].pci[2] ^= 1;
  std::uint64_t differs[2];
  integrity_answer(13002, other, differs);
  CHECK(differs[0] != answer[0]);
}
