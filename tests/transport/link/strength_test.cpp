// How payloads are sealed: by what sealing costs, and never below the floor, whoever wants that.
#include "transport/link/strength.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <vector>

#include "tests/security/test_pool.h"
#include "tests/transport/link/dial_server.h"
#include "transport/link/crypto_load.h"
#include "transport/link/record.h"
#include "transport/link/session.h"

using namespace farcall;
using namespace farcall::link;
using farcall::testing::TestPool;

namespace {

using Bytes = std::vector<std::byte>;
constexpr LaneFloor kStrict{};
constexpr LaneFloor kLoose = kLowestFloor;

TrafficKey key_for(const LaneFloor& floor) {
  TrafficKey key;
  key.key.fill(std::byte{7});
  key.floor = floor;
  return key;
}

struct Ends {
  explicit Ends(const LaneFloor& sealers = kLoose, const LaneFloor& openers = kLoose)
      : sealer(RecordSealer::make(key_for(sealers), kLaneBulk, RekeyLimits::standard())),
        opener(RecordOpener::make(key_for(openers), kLaneBulk, RekeyLimits::standard())) {
    REQUIRE(sealer.ok());
    REQUIRE(opener.ok());
  }
  Bytes seal(std::size_t bytes = 100) {
    Bytes record(sealed_bytes(bytes));
    REQUIRE(sealer->seal(RecordType::kData, Bytes(bytes, std::byte{1}), record).ok());
    std::memcpy(&header, record.data(), sizeof header);
    return record;
  }
  Status open(const Bytes& record) {
    Bytes room(record.size() - kRecordOverheadBytes);
    return opener->open(record, room).status();
  }
  RecordHeader header;  // of the last record
  Result<RecordSealer> sealer;
  Result<RecordOpener> opener;
};

// A payload of 8 MiB as somebody may have made its figures look.
PayloadCost some_payload(std::mt19937_64& chance, double sealing_part) {
  const auto one_of = [&chance](std::uint64_t n) { return chance() % n == 0; };
  PayloadCost cost{.sealing_ns = 0, .took_ns = 0, .bytes = 8 << 20};
  cost.sealing_ns = 1e5 * static_cast<double>(1 + chance() % 200);
  cost.took_ns = cost.sealing_ns / sealing_part;
  if (one_of(4)) cost.took_ns += 1e6 * static_cast<double>(chance() % 10'000);  // delayed
  if (one_of(50)) cost.took_ns = 0;
  if (one_of(50)) cost.sealing_ns = std::numeric_limits<double>::infinity();
  if (one_of(50)) cost.took_ns = std::nan("");
  if (one_of(50)) cost.sealing_ns = -1e18;
  if (one_of(50)) cost.bytes = chance() % 3;
  return cost;
}

}  // namespace

TEST_CASE("whatever latency does, 100,000 times, the floor holds and changes are few") {
  std::mt19937_64 chance(20'261'122);
  std::uint64_t weak = 0;
  for (int trace = 0; trace < 100'000; ++trace) {
    const LaneFloor floor{static_cast<Cipher>(chance() % kCiphers),
                          static_cast<std::uint8_t>(limits::kRekeyLog2Min + chance() % 13)};
    StrengthControl control(floor);
    std::deque<std::int64_t> switched_ns;
    bool sound = true;
    auto now_ns = static_cast<std::int64_t>(chance() % 1'000'000'000'000);
    double sealing_part = 0.01 * static_cast<double>(1 + chance() % 100);
    for (int payload = 0; payload < 40; ++payload) {
      if (chance() % 8 == 0) sealing_part = 0.01 * static_cast<double>(1 + chance() % 100);
      now_ns += static_cast<std::int64_t>(chance() % 8'000'000'000);
      const std::uint64_t before = control.switches();
      const Strength strength = control.after(some_payload(chance, sealing_part), now_ns);
      sound = sound && at_least(floor.cipher, strength.cipher) == strength.cipher;
      sound = sound && strength.rekey_bytes > 0 && strength.rekey_bytes <= floor.rekey_bytes();
      sound = sound && strength.record_bytes >= limits::kBulkFirstRecordBytes &&
              strength.record_bytes <= limits::kRecordBytesMax;
      if (control.switches() != before) switched_ns.push_back(now_ns);
      while (!switched_ns.empty() && switched_ns.front() <= now_ns - 60'000'000'000) {
        switched_ns.pop_front();
      }
      sound = sound && switched_ns.size() <= 2;
      if (strength.cipher == Cipher::kAes128Gcm) ++weak;
    }
    REQUIRE(sound);
  }
  CHECK(weak > 1'000);  // there was something to hold
}

TEST_CASE("sealing that holds payloads up weakens the cipher, a slow link strengthens it") {
  StrengthControl control(kLoose);
  std::int64_t now_ns = 0;
  const auto send = [&](double sealing_ns, double took_ns, int times) {
    Strength last;
    for (int i = 0; i < times; ++i) {
      now_ns += 1'000'000'000;
      last = control.after({sealing_ns, took_ns, 8 << 20}, now_ns);
    }
    return last;
  };
  CHECK(send(1e6, 3e6, 100).cipher == Cipher::kAes256Gcm);
  CHECK(send(9e6, 1e7, limits::kStrengthPayloads - 1).cipher == Cipher::kAes256Gcm);
  CHECK(send(9e6, 1e7, 20).cipher == Cipher::kAes128Gcm);
  // Neither busy nor idle: as it is.
  CHECK(send(4e6, 1e7, 100).cipher == Cipher::kAes128Gcm);
  // 500 ms of delay on every payload, as who sits on the path can make it.
  CHECK(send(9e6, 5.1e8, 100).cipher == Cipher::kAes256Gcm);
  // And from the start: no delay ever gets it there.
  StrengthControl delayed(kLoose);
  for (int i = 0; i < 1'000; ++i) delayed.after({9e6, 5.1e8, 8 << 20}, i * 1'000'000'000ll);
  CHECK(delayed.switches() == 0);
}

TEST_CASE("slow sealing makes records shorter and keys last longer, up to what policy allows") {
  StrengthControl fast(kStrict);
  CHECK(fast.after({8e5, 1e7, 8 << 20}, 0).record_bytes == limits::kRecordBytesMax);
  CHECK(fast.now().rekey_bytes == limits::kUsualRekeyBytesMin);
  StrengthControl slow(kStrict);
  CHECK(slow.after({2e7, 1e8, 8 << 20}, 0).record_bytes == limits::kBulkFirstRecordBytes * 1);
  CHECK(slow.now().cipher == Cipher::kAes256Gcm);
  StrengthControl often({Cipher::kAes256Gcm, 24});
  CHECK(often.now().rekey_bytes == 16 << 20);
}

TEST_CASE("the cipher changes with the key, in a record that says so, and back") {
  Ends both;
  CHECK(both.open(both.seal()).ok());
  CHECK(both.header.flags == 0);
  both.sealer->use(Cipher::kAes128Gcm, UINT64_MAX);
  for (int i = 0; i < 3; ++i) CHECK(both.open(both.seal()).ok());
  CHECK(both.header.epoch == 1);
  CHECK(both.header.flags == 1);
  both.sealer->use(Cipher::kAes256Gcm, 150);
  for (int i = 0; i < 6; ++i) CHECK(both.open(both.seal()).ok());
  CHECK(both.header.epoch == 4);  // each key seals two records
  CHECK(both.header.flags == 0);
}

TEST_CASE("a sealer keeps to its floor, and an opener to its own") {
  Ends strict(kStrict, kLoose);
  strict.sealer->use(Cipher::kAes128Gcm, UINT64_MAX);
  CHECK(strict.open(strict.seal()).ok());
  CHECK(strict.header.flags == 0);
  // A peer that seals with less than was agreed, with keys that are right.
  Ends weak(kLoose, kStrict);
  CHECK(weak.open(weak.seal()).ok());
  weak.sealer->use(Cipher::kAes128Gcm, UINT64_MAX);
  const Status refused = weak.open(weak.seal());
  CHECK(refused.code() == Code::kMalformed);
  CHECK(refused.text().find("less than was agreed") != std::string::npos);
  CHECK(weak.open(weak.seal()).code() == Code::kClosed);
  // One that stays with a key for longer than was agreed.
  Ends lazy(kLoose, {Cipher::kAes256Gcm, limits::kRekeyLog2Min});
  constexpr std::size_t kRecords = (16 << 20) / limits::kRecordBytesMax;
  for (std::size_t i = 0; i < kRecords; ++i) {
    REQUIRE(lazy.open(lazy.seal(limits::kRecordBytesMax)).ok());
  }
  CHECK(lazy.open(lazy.seal()).text().find("another key epoch") != std::string::npos);
}

TEST_CASE("who is on the path cannot change cipher or key by changing a header") {
  for (const bool is_weak : {false, true}) {
    for (const int epochs : {0, 1, 2}) {
      for (const int value : {0, 1, 2, 255}) {
        const auto flags = static_cast<std::uint8_t>(value);
        Ends both;
        if (is_weak) both.sealer->use(Cipher::kAes128Gcm, UINT64_MAX);
        CHECK(both.open(both.seal()).ok());
        Bytes record = both.seal();
        if (epochs == 0 && flags == both.header.flags) continue;
        RecordHeader changed = both.header;
        changed.epoch = static_cast<std::uint16_t>(changed.epoch + epochs);
        changed.flags = flags;
        std::memcpy(record.data(), &changed, sizeof changed);
        CHECK_FALSE(both.open(record).ok());
        CHECK_FALSE(both.open(both.seal()).ok());
      }
    }
  }
}

TEST_CASE("helpers that are busy get another one, and the last one raises an alarm") {
  CryptoLoad load(3);
  std::int64_t now_ns = 77;
  std::uint64_t busy_ns = 0;
  unsigned threads = 1;
  const auto second = [&](double part) {
    now_ns += limits::kCryptoWindowNs;
    busy_ns += static_cast<std::uint64_t>(part * threads * 1e9);
    return load.look(busy_ns, threads, now_ns);
  };
  CHECK(second(0.9) == CryptoNeed::kNone);  // nothing to compare with
  for (int i = 0; i < 100; ++i) CHECK(second(0.69) == CryptoNeed::kNone);
  CHECK(load.mean() == doctest::Approx(0.69));
  for (; threads < 3; ++threads) CHECK(second(0.72) == CryptoNeed::kMore);
  CHECK(second(0.72) == CryptoNeed::kAlert);
  for (int i = 0; i < 59; ++i) CHECK(second(1) == CryptoNeed::kNone);  // told once a minute
  CHECK(second(1) == CryptoNeed::kAlert);
  CHECK(load.alerts() == 2);
  now_ns += limits::kCryptoPauseNs;  // nobody asked for long
  CHECK(second(1) == CryptoNeed::kNone);
}

TEST_CASE("the stricter of both ends holds, and a server that wants less is refused") {
  const LaneFloors loose{kLoose, kLoose};
  const LaneFloors mixed{kStrict, {Cipher::kAes128Gcm, 30}};
  TestPool pool;
  for (const LaneFloors& granted : {loose, mixed, LaneFloors{}}) {
    TestServer server(pool);
    server.floors = granted;
    server.serve();
    DialOptions options = options_for(pool, server);
    options.floors = loose;
    Result<std::unique_ptr<Session>> session = dial(options, nullptr);
    server.join();
    REQUIRE_MESSAGE(session.ok(), session.status().to_string());
    REQUIRE_MESSAGE(server.status.ok(), server.status.to_string());
    const bool may_be_less =
        session.value()->describe().find("AES-128-GCM or more") != std::string::npos;
    CHECK(may_be_less == (granted == loose));  // the lane of calls is named
    CHECK(server.control->hello().floors == loose);
  }
  TestServer server(pool);
  server.floors = mixed;
  server.opens_no_lanes = true;
  server.serve();
  const Status refused = dial(options_for(pool, server), nullptr).status();
  server.join();
  CHECK(refused.code() == Code::kDenied);
  CHECK(refused.text().find("less encryption") != std::string::npos);
}
