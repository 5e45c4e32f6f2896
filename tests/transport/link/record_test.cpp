#include "transport/link/record.h"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <vector>

#include "security/crypto.h"
#include "transport/link/session.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Bytes = std::vector<std::byte>;

TrafficKey key_of(unsigned seed) {
  TrafficKey key;
  for (std::size_t i = 0; i < key.key.size(); ++i) key.key[i] = static_cast<std::byte>(i + seed);
  for (std::size_t i = 0; i < key.iv.size(); ++i) key.iv[i] = static_cast<std::byte>(i * 3 + seed);
  return key;
}

struct Ends {
  RecordSealer sealer;
  RecordOpener opener;
};

Ends ends(RekeyLimits limits = RekeyLimits::standard(), std::uint8_t lane = kLaneCalls) {
  Result<RecordSealer> sealer = RecordSealer::make(key_of(1), lane, limits);
  Result<RecordOpener> opener = RecordOpener::make(key_of(1), lane, limits);
  REQUIRE(sealer.ok());
  REQUIRE(opener.ok());
  return {std::move(sealer).value(), std::move(opener).value()};
}

Bytes seal(RecordSealer& sealer, const Bytes& plain) {
  Bytes record(sealed_bytes(plain.size()));
  REQUIRE(sealer.seal(RecordType::kData, plain, record).ok());
  return record;
}

Code open_code(RecordOpener& opener, const Bytes& record) {
  Bytes room(limits::kRecordBytesMax);
  return opener.open(record, room).status().code();
}

Bytes text(std::size_t bytes) {
  Bytes all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>(i & 0xff);
  return all;
}

std::uint16_t epoch_of(const Bytes& record) {
  RecordHeader header;
  std::memcpy(&header, record.data(), sizeof(header));
  return header.epoch;
}

}  // namespace

TEST_CASE("a record opens to what was sealed, for every size up to the limit") {
  Ends both = ends();
  for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{15}, std::size_t{16},
                            std::size_t{4096}, limits::kRecordBytesMax}) {
    Bytes record = seal(both.sealer, text(bytes));
    CHECK(whole_record_bytes(record).value() == record.size());
    Bytes room(bytes);
    Result<RecordType> type = both.opener.open(record, room);
    REQUIRE(type.ok());
    CHECK(type.value() == RecordType::kData);
    CHECK(room == text(bytes));
  }
}

TEST_CASE("the sealed bytes do not change between versions") {
  // Key 01 02 … 20, IV 01 04 07 …, record 0 of lane 0, text "farcall". The tag was computed once
  // with Python's cryptography package.
  Ends both = ends();
  const char word[] = "farcall";
  Bytes plain(7);
  std::memcpy(plain.data(), word, 7);
  CHECK(security::to_hex(seal(both.sealer, plain)) ==
        "17000000020000000000000000000000cd5f3d4979c94845a3710bf168fa153ed68886efe3880f");
}

TEST_CASE("a flipped bit anywhere in a record keeps it shut") {
  for (std::size_t at = 0; at < sealed_bytes(20); ++at) {
    Ends both = ends();
    Bytes record = seal(both.sealer, text(20));
    record[at] ^= std::byte{0x10};
    CHECK(open_code(both.opener, record) == Code::kMalformed);
  }
}

TEST_CASE("a record that is cut short, or longer than it says, keeps shut") {
  for (std::size_t bytes = 0; bytes < sealed_bytes(20); ++bytes) {
    Ends both = ends();
    Bytes record = seal(both.sealer, text(20));
    record.resize(bytes);
    CHECK(open_code(both.opener, record) == Code::kMalformed);
  }
  Ends both = ends();
  Bytes record = seal(both.sealer, text(20));
  record.push_back(std::byte{0});
  CHECK(open_code(both.opener, record) == Code::kMalformed);
}

TEST_CASE("a length no record may have is refused before room is made for it") {
  RecordHeader header;
  const auto ask = [&](std::uint32_t length) {
    header.length = length;
    return whole_record_bytes(std::as_bytes(std::span(&header, 1))).status().code();
  };
  CHECK(ask(0) == Code::kMalformed);
  CHECK(ask(15) == Code::kMalformed);
  CHECK(ask(16) == Code::kOk);
  CHECK(ask(limits::kRecordBytesMax + 16) == Code::kOk);
  CHECK(ask(limits::kRecordBytesMax + 17) == Code::kMalformed);
  CHECK(ask(UINT32_MAX) == Code::kMalformed);
}

TEST_CASE("a text larger than the place meant for it is refused") {
  Ends both = ends();
  Bytes record = seal(both.sealer, text(20));
  Bytes room(19);
  CHECK(both.opener.open(record, room).status().code() == Code::kMalformed);
}

TEST_CASE("a record opens once: a replay keeps shut, and so does everything after it") {
  Ends both = ends();
  Bytes first = seal(both.sealer, text(5));
  Bytes second = seal(both.sealer, text(5));
  CHECK(open_code(both.opener, first) == Code::kOk);
  CHECK(open_code(both.opener, first) == Code::kMalformed);
  CHECK(open_code(both.opener, second) != Code::kOk);
}

TEST_CASE("a record that comes before its turn, or after one was dropped, keeps shut") {
  Ends both = ends();
  Bytes first = seal(both.sealer, text(5));
  Bytes second = seal(both.sealer, text(5));
  CHECK(open_code(both.opener, second) == Code::kMalformed);
}

TEST_CASE("a record of another lane or another direction keeps shut") {
  Ends both = ends();
  Ends bulk = ends(RekeyLimits::standard(), kLaneBulk);
  CHECK(open_code(bulk.opener, seal(both.sealer, text(5))) == Code::kMalformed);
  Result<RecordOpener> reverse = RecordOpener::make(key_of(2), kLaneCalls, RekeyLimits::standard());
  CHECK(open_code(reverse.value(), seal(both.sealer, text(5))) == Code::kMalformed);
}

TEST_CASE("what failed to open leaves no text behind") {
  Ends both = ends();
  Bytes record = seal(both.sealer, text(64));
  record.back() ^= std::byte{1};
  Bytes room(64, std::byte{0xee});
  CHECK_FALSE(both.opener.open(record, room).ok());
  CHECK(room == Bytes(64));
}

TEST_CASE("keys change after so many records at both ends, and the epoch says so") {
  Ends both = ends({.bytes = UINT64_MAX, .records = 3});
  for (int i = 0; i < 12; ++i) {
    Bytes record = seal(both.sealer, text(100));
    CHECK(epoch_of(record) == i / 3);
    CHECK(open_code(both.opener, record) == Code::kOk);
  }
}

TEST_CASE("engines understand each other's records at every size, through key changes") {
  const RekeyLimits often{.bytes = 100'000, .records = 50};
  std::vector<std::size_t> sizes;
  for (std::size_t bytes = 0; bytes < 300; ++bytes) sizes.push_back(bytes);
  for (std::size_t bytes : {4095ul, 65536ul, 65551ul, limits::kRecordBytesMax - 1,
                            limits::kRecordBytesMax, 0ul, 64ul}) {
    sizes.push_back(bytes);
  }
  for (Engine mine : usable_engines()) {
    for (Engine theirs : usable_engines()) {
      Result<RecordSealer> sealer = RecordSealer::make(key_of(1), kLaneBulk, often, mine);
      Result<RecordOpener> opener = RecordOpener::make(key_of(1), kLaneBulk, often, theirs);
      REQUIRE(sealer.ok());
      REQUIRE(opener.ok());
      CHECK(sealer.value().engine() == mine);
      Bytes record;
      for (std::size_t bytes : sizes) {
        record = seal(sealer.value(), text(bytes));
        Bytes room(bytes);
        REQUIRE(opener.value().open(record, room).ok());
        REQUIRE(room == text(bytes));
      }
      CHECK(epoch_of(record) > 6);
    }
  }
}

TEST_CASE("keys change after so many bytes at both ends") {
  Ends both = ends({.bytes = 250, .records = UINT64_MAX});
  for (int i = 0; i < 9; ++i) {
    Bytes record = seal(both.sealer, text(100));
    CHECK(epoch_of(record) == i / 3);
    CHECK(open_code(both.opener, record) == Code::kOk);
  }
}

TEST_CASE("who changes keys later than the other end insists on is refused at once") {
  Ends early = ends({.bytes = UINT64_MAX, .records = 1});
  Ends late = ends({.bytes = UINT64_MAX, .records = 2});
  CHECK(open_code(early.opener, seal(late.sealer, text(1))) == Code::kOk);
  CHECK(open_code(early.opener, seal(late.sealer, text(1))) == Code::kMalformed);
  // Earlier is the sender's choice.
  for (int i = 0; i < 5; ++i) {
    CHECK(open_code(late.opener, seal(early.sealer, text(1))) == Code::kOk);
  }
}

TEST_CASE("the epoch's wrap after 65,536 key changes goes unnoticed") {
  Ends both = ends({.bytes = UINT64_MAX, .records = 1});
  Bytes record(sealed_bytes(1));
  Bytes room(1);
  for (int i = 0; i < 65'540; ++i) {
    REQUIRE(both.sealer.seal(RecordType::kData, text(1), record).ok());
    REQUIRE(both.opener.open(record, room).ok());
  }
  CHECK(epoch_of(record) == 3);
}

TEST_CASE("keys that were forgotten seal and open nothing") {
  Ends both = ends();
  Bytes record = seal(both.sealer, text(5));
  both.sealer.forget();
  both.opener.forget();
  Bytes out(sealed_bytes(5));
  CHECK(both.sealer.seal(RecordType::kData, text(5), out).code() == Code::kClosed);
  CHECK(open_code(both.opener, record) == Code::kClosed);
}
