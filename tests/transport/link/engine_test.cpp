#include "transport/link/engine.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "security/crypto.h"
#include "transport/link/engine_makers.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t kTag = limits::kRecordTagBytes;

struct Question {
  std::array<std::byte, 32> key;
  std::array<std::byte, 12> nonce;
  Bytes associated = Bytes(24);
  Bytes plain;

  explicit Question(std::size_t bytes) : plain(bytes) {
    for (std::span<std::byte> part : {std::span<std::byte>(key), std::span<std::byte>(nonce),
                                      std::span<std::byte>(associated), std::span(plain)}) {
      security::fill_random(part);
    }
  }
};

Bytes seal(Engine engine, const Question& asked, Cipher cipher = Cipher::kAes256Gcm) {
  Result<std::unique_ptr<Aead>> aead = make_aead(engine, asked.key, Aead::Use::kSeal, cipher);
  REQUIRE(aead.ok());
  Bytes sealed(asked.plain.size() + kTag);
  REQUIRE(aead.value()->seal(asked.nonce, asked.associated, asked.plain, sealed));
  return sealed;
}

// Whether it opens, and to the right text.
bool opens(Engine engine, const Question& asked, const Bytes& sealed,
           Cipher cipher = Cipher::kAes256Gcm) {
  Result<std::unique_ptr<Aead>> aead = make_aead(engine, asked.key, Aead::Use::kOpen, cipher);
  REQUIRE(aead.ok());
  Bytes plain(sealed.size() - kTag);
  const bool good = aead.value()->open(asked.nonce, asked.associated, sealed, plain);
  return good && plain == asked.plain;
}

std::vector<std::size_t> sizes() {
  std::vector<std::size_t> all;
  for (std::size_t bytes = 0; bytes <= 1100; ++bytes) all.push_back(bytes);
  for (std::size_t edge : {2048ul, 4096ul, 16384ul, 65536ul, 131072ul, limits::kRecordBytesMax}) {
    for (std::size_t by : {17ul, 16ul, 15ul, 1ul, 0ul}) all.push_back(edge - by);
  }
  return all;
}

}  // namespace

TEST_CASE("every engine seals the same bytes and opens what the others sealed, at every size") {
  const std::vector<Engine> engines = usable_engines();
  for (std::size_t bytes : sizes()) {
    const Question asked(bytes);
    const Bytes expected = seal(Engine::kEvp, asked);
    for (Engine engine : engines) {
      CAPTURE(bytes);
      CAPTURE(std::string(to_string(engine)));
      REQUIRE(seal(engine, asked) == expected);
      REQUIRE(opens(engine, asked, expected));
    }
    if (bytes % 16 > 1 && bytes < 1'000) continue;
    const Bytes weaker = seal(Engine::kEvp, asked, Cipher::kAes128Gcm);
    for (Engine engine : engines) {
      REQUIRE(seal(engine, asked, Cipher::kAes128Gcm) == weaker);
      REQUIRE(opens(engine, asked, weaker, Cipher::kAes128Gcm));
      REQUIRE_FALSE(opens(engine, asked, weaker));
    }
  }
}

TEST_CASE("no engine opens a record of which one bit was changed") {
  for (Engine engine : usable_engines()) {
    CAPTURE(std::string(to_string(engine)));
    const Question asked(67);
    Bytes sealed = seal(engine, asked);
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      const auto flip = static_cast<std::byte>(1 << (bit % 8));
      sealed[bit / 8] ^= flip;
      REQUIRE_FALSE(opens(engine, asked, sealed));
      sealed[bit / 8] ^= flip;
    }
    Question other = asked;
    other.nonce[11] ^= std::byte{1};
    REQUIRE_FALSE(opens(engine, other, sealed));
    other = asked;
    other.associated[23] ^= std::byte{1};
    REQUIRE_FALSE(opens(engine, other, sealed));
    REQUIRE(opens(engine, asked, sealed));
  }
}

TEST_CASE("ipsec-mb's code for older processors seals and opens alike") {
  // What this processor can run, fastest first; the first one is what the tests above looked at.
  const bool has_any = usable_engines().size() > 1;
  std::size_t slower = 0;
  for (std::size_t i = 0;; ++i) {
    slower = i / 2;
    CAPTURE(slower);
    const Cipher cipher = i % 2 == 0 ? Cipher::kAes256Gcm : Cipher::kAes128Gcm;
    Question asked(0);
    auto aead = make_ipsec_mb_aead(asked.key, cipher, slower);
    if (!aead.ok()) break;
    for (std::size_t bytes : {0ul, 1ul, 15ul, 16ul, 64ul, 255ul, 4097ul, 262144ul}) {
      CAPTURE(bytes);
      asked.plain.assign(bytes, std::byte{0x5a});
      const Bytes expected = seal(Engine::kEvp, asked, cipher);
      Bytes sealed(bytes + kTag), plain(bytes);
      REQUIRE(aead.value()->seal(asked.nonce, asked.associated, asked.plain, sealed));
      REQUIRE(sealed == expected);
      REQUIRE(aead.value()->open(asked.nonce, asked.associated, sealed, plain));
      REQUIRE(plain == asked.plain);
      sealed.back() ^= std::byte{1};
      REQUIRE_FALSE(aead.value()->open(asked.nonce, asked.associated, sealed, plain));
    }
  }
  CHECK((slower > 0) == has_any);
}

TEST_CASE("one Aead seals many records, each as if it were the first") {
  for (Engine engine : usable_engines()) {
    CAPTURE(std::string(to_string(engine)));
    Question asked(300);
    Result<std::unique_ptr<Aead>> aead = make_aead(engine, asked.key, Aead::Use::kSeal);
    REQUIRE(aead.ok());
    for (std::size_t bytes : {300ul, 0ul, 16ul, 299ul}) {
      asked.plain.resize(bytes);
      security::fill_random(asked.nonce);
      Bytes sealed(bytes + kTag);
      REQUIRE(aead.value()->seal(asked.nonce, asked.associated, asked.plain, sealed));
      REQUIRE(sealed == seal(Engine::kEvp, asked));
    }
  }
}

TEST_CASE("the cost of every usable engine can be measured") {
  for (Engine engine : usable_engines()) {
    const EngineCost cost = measure_engine(engine);
    CHECK(cost.engine == engine);
    CHECK(cost.small_ns > 0);
    CHECK(cost.bulk_ns > 0);
    CHECK(cost.bulk_ns < 1e9);
  }
  CHECK(usable_engines().front() == Engine::kEvp);
}
