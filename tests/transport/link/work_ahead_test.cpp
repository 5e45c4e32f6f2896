#include "transport/link/work_ahead.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "security/crypto.h"
#include "tests/support/switched.h"
#include "transport/base/switches.h"
#include "transport/link/session.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Bytes = std::vector<std::byte>;

// This machine may have too few cores to get helpers by itself; every test of this program has two.
const bool kHelped = ::setenv("FARCALL_CRYPTO_THREADS", "2", 1) == 0;

TrafficKey key_of(unsigned seed) {
  TrafficKey key;
  for (std::size_t i = 0; i < key.key.size(); ++i) key.key[i] = static_cast<std::byte>(i + seed);
  return key;
}

Bytes random_bytes(std::size_t bytes) {
  Bytes all(bytes);
  security::fill_random(all);
  return all;
}

struct Count final : CryptoPool::Job {
  void work() override { done.fetch_add(1); }
  std::atomic<int> done{0};
};

// Sealer and opener with the same key, through helpers, and the records between them.
struct Ends {
  explicit Ends(unsigned threads, RekeyLimits rekey = RekeyLimits::standard(),
                Engine engine = chosen_engine())
      : pool(threads),
        sealer(RecordSealer::make(key_of(1), kLaneBulk, rekey, engine)),
        opener(RecordOpener::make(key_of(1), kLaneBulk, rekey)) {
    REQUIRE(sealer.ok());
    REQUIRE(opener.ok());
  }
  SealAhead sealing() {
    return SealAhead(sealer.value(), pool, [this](std::span<const std::byte> record) {
      records.emplace_back(record.begin(), record.end());
      return ok();
    });
  }
  CryptoPool pool;
  Result<RecordSealer> sealer;
  Result<RecordOpener> opener;
  std::vector<Bytes> records;
};

// Turns helpers off for an end, and back to what this run of the tests asks for.
struct Pipeline {
  explicit Pipeline(bool on) {
    const std::uint32_t bit = 1u << static_cast<unsigned>(Switch::kPipeline);
    g_switches_off.store(on ? before & ~bit : before | bit);
  }
  ~Pipeline() { g_switches_off.store(before); }
  const std::uint32_t before = g_switches_off.load();
};

constexpr RekeyLimits kOften{.bytes = 300'000, .records = 7};

std::vector<Bytes> texts() {
  std::vector<Bytes> all;
  for (std::size_t bytes : {1ul, 64ul, 65536ul, limits::kRecordBytesMax, 17ul, 100'000ul,
                            limits::kRecordBytesMax, limits::kRecordBytesMax - 1, 3ul, 250'000ul}) {
    all.push_back(random_bytes(bytes));
  }
  for (std::size_t i = 0; i < 60; ++i) all.push_back(random_bytes(1 + 977 * i));
  return all;
}

std::vector<Bytes> seal_ahead(Ends& ends, const std::vector<Bytes>& plain) {
  SealAhead ahead = ends.sealing();
  for (const Bytes& text : plain) REQUIRE(ahead.add(RecordType::kData, text).ok());
  REQUIRE(ahead.finish().ok());
  return std::move(ends.records);
}

struct Sessions {
  SessionPair pair;
  explicit Sessions(RekeyLimits rekey = {.bytes = 700'000, .records = 5}) {
    auto made = make_loopback_session_pair(rekey);
    REQUIRE(made.ok());
    pair = std::move(made).value();
  }
  Status send(std::span<const std::byte> payload) {
    return pair.client
        ->post_bulk(
            {.id = 1, .thread = 1}, [](wire::Writer&) {}, payload)
        .status();
  }
};

}  // namespace

TEST_CASE("every job of a pool is done once, whoever does it") {
  for (unsigned threads : {0u, 1u, 3u}) {
    CryptoPool pool(threads);
    CHECK(pool.threads() == threads);
    const auto caller = [&pool] {
      std::vector<Count> jobs(5);
      for (int round = 1; round <= 200; ++round) {
        for (Count& job : jobs) pool.submit(job);
        for (Count& job : jobs) pool.finish(job);
        for (Count& job : jobs) REQUIRE(job.done.load() == round);
      }
    };
    std::thread other(caller);
    caller();
    other.join();
  }
}

TEST_CASE("records sealed ahead are those sealed one by one, through key changes") {
  const std::vector<Bytes> plain = texts();
  for (Engine engine : usable_engines()) {
    Ends alone(0, kOften, engine);
    std::vector<Bytes> expected;
    for (const Bytes& text : plain) {
      Bytes record(sealed_bytes(text.size()));
      REQUIRE(alone.sealer.value().seal(RecordType::kData, text, record).ok());
      expected.push_back(std::move(record));
    }
    for (unsigned threads : {0u, 1u, 3u}) {
      Ends ends(threads, kOften, engine);
      CHECK(seal_ahead(ends, plain) == expected);
    }
  }
}

TEST_CASE("records opened ahead give the texts, through key changes") {
  const std::vector<Bytes> plain = texts();
  for (unsigned threads : {0u, 1u, 3u}) {
    Ends ends(threads, kOften);
    const std::vector<Bytes> records = seal_ahead(ends, plain);
    std::vector<Bytes> opened;
    for (const Bytes& text : plain) opened.emplace_back(text.size());
    OpenAhead ahead(ends.opener.value(), ends.pool);
    for (std::size_t i = 0; i < records.size(); ++i) REQUIRE(ahead.add(records[i], opened[i]).ok());
    REQUIRE(ahead.finish().ok());
    CHECK(opened == plain);
  }
}

TEST_CASE("a place seals one record and no second") {
  Ends ends(0);
  Result<RecordPlace> place = ends.sealer.value().take_place(RecordType::kData, 5);
  REQUIRE(place.ok());
  HelperKey key;
  REQUIRE(ends.sealer.value().lend(&key).ok());
  const Bytes text = random_bytes(5);
  Bytes record(sealed_bytes(5));
  RecordPlace mine = std::move(place).value();
  CHECK_FALSE(RecordSealer::seal_at(RecordPlace(), *key.aead, text, record));
  CHECK(RecordSealer::seal_at(std::move(mine), *key.aead, text, record));
  CHECK_FALSE(RecordSealer::seal_at(std::move(mine), *key.aead, text, record));
  CHECK_FALSE(RecordSealer::seal_at(std::move(place).value(), *key.aead, text, record));
}

TEST_CASE(
    "a changed, dropped or swapped record fails the whole batch, and leaves none of its text") {
  const std::vector<Bytes> plain = {random_bytes(100), random_bytes(100), random_bytes(100)};
  for (int attack = 0; attack < 3; ++attack) {
    Ends ends(2);
    std::vector<Bytes> records = seal_ahead(ends, plain);
    if (attack == 0) records[1][50] ^= std::byte{1};
    if (attack == 1) records.erase(records.begin());
    if (attack == 2) std::swap(records[0], records[1]);
    std::vector<Bytes> opened(records.size(), Bytes(100, std::byte{0xee}));
    OpenAhead ahead(ends.opener.value(), ends.pool);
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (!ahead.add(records[i], opened[i]).ok()) break;
    }
    CHECK(ahead.finish().code() == Code::kMalformed);
    CHECK(opened[1] != plain[1]);
    CHECK((opened[attack == 0 ? 1 : 0] == Bytes(100)));
  }
}

TEST_CASE("large payloads arrive whole with helpers at both ends, at one, and at none") {
  REQUIRE(CryptoPool::here().threads() == 2);
  for (int without = 0; without < 4; ++without) {
    Sessions ends;
    for (std::size_t bytes : {limits::kHelpedBytesMin, std::size_t{5'000'001}, std::size_t{100},
                              limits::kHelpedBytesMin + 1}) {
      const Bytes payload = random_bytes(bytes);
      // Bit 0: the sender has no helpers. Bit 1: the receiver has none.
      {
        Pipeline sender((without & 1) == 0);
        REQUIRE(ends.send(payload).ok());
      }
      Pipeline receiver((without & 2) == 0);
      Bytes arrived(bytes);
      REQUIRE(ends.pair.server->bulk_read(arrived).ok());
      CHECK(arrived == payload);
    }
  }
}

TEST_CASE("payloads cross in both directions at once while helpers seal and open") {
  Sessions ends;
  const Bytes up = random_bytes(9'000'000), down = random_bytes(8'000'000);
  std::thread server([&] {
    Bytes arrived(up.size());
    CHECK(ends.pair.server->bulk_read(arrived).ok());
    CHECK(arrived == up);
  });
  std::thread replier([&] {
    CHECK(ends.pair.server
              ->post_bulk(
                  {.id = 1, .flags = wire::kReply, .call = 1, .thread = 1}, [](wire::Writer&) {},
                  down)
              .ok());
  });
  std::thread sender([&] { CHECK(ends.send(up).ok()); });
  Bytes arrived(down.size());
  CHECK(ends.pair.client->bulk_read(arrived).ok());
  CHECK(arrived == down);
  for (std::thread* thread : {&server, &replier, &sender}) thread->join();
}

TEST_CASE("a large payload may be read in pieces, and be called off half way") {
  Sessions ends;
  const Bytes payload = random_bytes(6'000'000);
  REQUIRE(ends.send(payload).ok());
  Bytes arrived(payload.size());
  for (std::size_t at = 0; at < arrived.size();) {
    const std::size_t bytes = std::min<std::size_t>(1'300'000, arrived.size() - at);
    REQUIRE(ends.pair.server->bulk_read(std::span(arrived).subspan(at, bytes)).ok());
    at += bytes;
  }
  CHECK(arrived == payload);

  std::size_t at = 0;
  const auto fill = [&](std::span<std::byte> room) -> Status {
    if (at > 2'000'000) return Status::driver("the device is gone", 700);
    std::memcpy(room.data(), payload.data() + at, room.size());
    at += room.size();
    return ok();
  };
  const auto sent = ends.pair.client->post_bulk_from(
      {.id = 1, .thread = 1}, [](wire::Writer&) {}, payload.size(), fill);
  CHECK(sent.status().code() == Code::kDriver);
  const Status read = ends.pair.server->bulk_read(arrived);
  CHECK(read.code() == Code::kDriver);
  CHECK(read.detail() == 700);
  REQUIRE(ends.send(payload).ok());
  REQUIRE(ends.pair.server->bulk_read(arrived).ok());
  CHECK(arrived == payload);
}

TEST_CASE("every job of a pool counts once: a helper's, or its caller's") {
  CryptoPool alone(0);
  Count job;
  alone.submit(job);
  alone.finish(job);
  CHECK(alone.counts().threads == 0);
  CHECK(alone.counts().by_helpers == 0);
  CHECK(alone.counts().by_callers == 1);

  CryptoPool helped(2);
  Count jobs[20];
  for (Count& each : jobs) helped.submit(each);
  while (jobs[0].done.load() == 0) {  // nobody else can have done it
  }
  for (Count& each : jobs) helped.finish(each);
  const CryptoPool::Counts counts = helped.counts();
  CHECK(counts.threads == 2);
  CHECK(counts.by_helpers >= 1);
  CHECK(counts.by_helpers + counts.by_callers == 20);
}

TEST_CASE("a session tells what its helpers did") {
  Switched all_on("");
  Sessions ends;
  const LinkStats before = ends.pair.client->stats();
  const Bytes payload = random_bytes(6'000'000);
  REQUIRE(ends.send(payload).ok());
  Bytes arrived(payload.size());
  REQUIRE(ends.pair.server->bulk_read(arrived).ok());
  const LinkStats after = ends.pair.client->stats();
  CHECK(after.crypto_threads == 2);
  // Both ends are this process's: every record was sealed and opened.
  CHECK(after.records_by_helpers + after.records_by_callers >=
        before.records_by_helpers + before.records_by_callers +
            2 * payload.size() / limits::kRecordBytesMax);
}

#ifndef __SANITIZE_THREAD__  // which gives up on threads in the child of a fork
TEST_CASE("the child of a fork has a pool of its own") {
  CryptoPool* parents = &CryptoPool::here();
  const pid_t child = ::fork();
  if (child == 0) {
    CryptoPool& own = CryptoPool::here();
    Count job;
    own.submit(job);
    own.finish(job);
    ::_exit(&own != parents && job.done.load() == 1 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(&CryptoPool::here() == parents);
}
#endif
