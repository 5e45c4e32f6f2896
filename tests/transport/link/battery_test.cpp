// Tampered records by the number: none opens, whatever was done to it.
#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "tests/support/battery.h"
#include "transport/link/record.h"
#include "transport/link/session.h"

namespace farcall::link {
namespace {

using Bytes = std::vector<std::byte>;

TrafficKey random_key(Chance& chance) {
  TrafficKey key;
  for (std::byte& one : key.key) one = static_cast<std::byte>(chance.bits());
  for (std::byte& one : key.iv) one = static_cast<std::byte>(chance.bits());
  return key;
}

// Never what it was.
void tamper(Bytes& record, const Bytes& former, Chance& chance) {
  switch (chance.below(5)) {
    case 0:
      record[chance.below(record.size())] ^= std::byte{1} << static_cast<int>(chance.below(8));
      return;
    case 1: record.resize(chance.below(record.size())); return;
    case 2: record.push_back(static_cast<std::byte>(chance.bits())); return;
    case 3:  // a replay
      record = former;
      return;
    default:  // the head of one on the body of another
      std::copy_n(former.begin(), sizeof(RecordHeader), record.begin());
      record.back() ^= std::byte{1};
  }
}

}  // namespace

TEST_CASE("tampered records by the number keep shut, and leave nothing of their text") {
  Chance chance;
  unsigned opened = 0, left = 0;
  for (unsigned i = 0; i < hostile_inputs(); ++i) {
    const TrafficKey key = random_key(chance);
    auto sealer = RecordSealer::make(key, kLaneCalls, RekeyLimits::standard());
    auto opener = RecordOpener::make(key, kLaneCalls, RekeyLimits::standard());
    REQUIRE(sealer.ok());
    REQUIRE(opener.ok());
    Bytes room(limits::kRecordBytesMax);
    Bytes former(sealed_bytes(1 + chance.below(300)));
    const Bytes text(former.size() - sealed_bytes(0), std::byte{'t'});
    REQUIRE(sealer.value().seal(RecordType::kData, text, former).ok());
    REQUIRE(opener.value().open(former, room).ok());
    std::fill(room.begin(), room.end(), std::byte{0});
    Bytes record(former.size());
    REQUIRE(sealer.value().seal(RecordType::kData, text, record).ok());
    tamper(record, former, chance);
    opened += opener.value().open(record, room).ok();
    for (const std::byte one : std::span(room).first(text.size())) left += one == std::byte{'t'};
  }
  CHECK(opened == 0);
  CHECK(left == 0);
}

}  // namespace farcall::link
