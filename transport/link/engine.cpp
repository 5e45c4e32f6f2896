#include "transport/link/engine.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>

#include "transport/base/log.h"
#include "transport/base/secure_arena.h"
#include "transport/link/engine_makers.h"

namespace farcall::link {
namespace {

constexpr std::size_t kTag = limits::kRecordTagBytes;
using Bytes = std::span<const std::byte>;

Result<std::unique_ptr<Aead>> make_unchecked(Engine engine, AeadKey key, Aead::Use use,
                                             Cipher cipher) {
  return engine == Engine::kEvp ? make_evp_aead(key, use, cipher) : make_ipsec_mb_aead(key, cipher);
}

// Test cases 16 and 4 of "The Galois/Counter Mode of Operation" (McGrew, Viega): 12-byte nonce, 20
// associated bytes, 60 bytes of text; the key of the second is the first half of the first's.
constexpr std::string_view kKnownKey =
    "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
constexpr std::string_view kKnownNonce = "cafebabefacedbaddecaf888";
constexpr std::string_view kKnownAssociated = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
constexpr std::string_view kKnownPlain =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
constexpr std::string_view kKnownSealed256 =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b";
constexpr std::string_view kKnownSealed128 =
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
    "5bc94fbc3221a5db94fae95ae7121a47";

template <std::size_t kBytes>
std::array<std::byte, kBytes> from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::array<std::byte, kBytes> out{};
  for (std::size_t i = 0; i < kBytes; ++i) {
    out[i] = static_cast<std::byte>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
  }
  return out;
}

// Also that a wrong tag does not open.
Status known_answer_test(Engine engine, Cipher cipher) {
  const auto key = from_hex<32>(kKnownKey);
  const auto nonce = from_hex<12>(kKnownNonce);
  const auto associated = from_hex<20>(kKnownAssociated);
  const auto plain = from_hex<60>(kKnownPlain);
  auto right =
      from_hex<60 + kTag>(cipher == Cipher::kAes128Gcm ? kKnownSealed128 : kKnownSealed256);
  Result<std::unique_ptr<Aead>> sealer = make_unchecked(engine, key, Aead::Use::kSeal, cipher);
  if (!sealer.ok()) return sealer.status();
  Result<std::unique_ptr<Aead>> opener = make_unchecked(engine, key, Aead::Use::kOpen, cipher);
  if (!opener.ok()) return opener.status();
  std::array<std::byte, 60 + kTag> sealed{};
  std::array<std::byte, 60> opened{};
  const bool good = sealer.value()->seal(nonce, associated, plain, sealed) && sealed == right &&
                    opener.value()->open(nonce, associated, right, opened) && opened == plain;
  right.back() ^= std::byte{1};
  if (good && !opener.value()->open(nonce, associated, right, opened)) return ok();
  return {Code::kUnsupported,
          std::string(to_string(engine)) + " fails its known-answer test of " + to_string(cipher)};
}

Status known_answers(Engine engine) {
  Status strong = known_answer_test(engine, Cipher::kAes256Gcm);
  return strong.ok() ? known_answer_test(engine, Cipher::kAes128Gcm) : strong;
}

// Once in a process for each engine. Leaked on purpose: the shim is used during exit, after static
// objects are gone.
const Status& tested(Engine engine) {
  static const Status& evp = *new Status(known_answers(Engine::kEvp));
  if (engine == Engine::kEvp) return evp;
  static const Status& ipsec_mb = *new Status(known_answers(Engine::kIpsecMb));
  return ipsec_mb;
}

// Fastest of `tries` runs of `times` seals, in ns per seal.
double seal_ns(Aead& aead, Bytes plain, std::span<std::byte> sealed, int times) {
  constexpr int kTries = 5;
  std::array<std::byte, 12> nonce{};
  std::array<std::byte, 24> associated{};
  double best = 1e18;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    // The nonce repeats: the key is thrown away, and so is the text.
    for (int i = 0; i < times; ++i) aead.seal(nonce, associated, plain, sealed);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count() / times);
  }
  return best;
}

Engine fastest_engine() {
  EngineCost best;
  for (Engine engine : usable_engines()) {
    const EngineCost cost = measure_engine(engine);
    FARCALL_LOG_DEBUG("%s seals 64 bytes in %.0f ns and 16 KiB in %.0f ns",
                      std::string(to_string(engine)).c_str(), cost.small_ns, cost.bulk_ns);
    // A session seals many small records and, in between, large ones: both count, as ratios.
    const bool first = best.bulk_ns == 0;
    if (first || cost.small_ns * cost.bulk_ns < best.small_ns * best.bulk_ns) best = cost;
  }
  return best.engine;
}

Engine decide() {
  const char* asked = ::secure_getenv("FARCALL_ENGINE");
  const std::string word = asked == nullptr ? "auto" : asked;
  if (word == "evp") return Engine::kEvp;
  if (word == "ipsec-mb") {
    if (tested(Engine::kIpsecMb).ok()) return Engine::kIpsecMb;
    FARCALL_LOG_WARN("FARCALL_ENGINE=ipsec-mb: %s; using EVP",
                     tested(Engine::kIpsecMb).text().c_str());
    return Engine::kEvp;
  }
  if (word != "auto" && !word.empty()) {
    FARCALL_LOG_WARN("FARCALL_ENGINE=%s is none of auto, evp, ipsec-mb; using auto", word.c_str());
  }
  return fastest_engine();
}

}  // namespace

std::string_view to_string(Engine engine) { return engine == Engine::kEvp ? "EVP" : "ipsec-mb"; }

Result<std::unique_ptr<Aead>> make_aead(Engine engine, AeadKey key, Aead::Use use, Cipher cipher) {
  if (!tested(engine).ok()) return tested(engine);
  return make_unchecked(engine, key, use, cipher);
}

std::vector<Engine> usable_engines() {
  std::vector<Engine> usable = {Engine::kEvp};
  if (tested(Engine::kIpsecMb).ok()) usable.push_back(Engine::kIpsecMb);
  return usable;
}

EngineCost measure_engine(Engine engine) {
  static constexpr std::array<std::byte, 16 * 1024> kPlain{};
  static constexpr std::array<std::byte, 32> kKey{};
  std::array<std::byte, kPlain.size() + kTag> sealed;
  EngineCost cost{engine, 1e18, 1e18};
  Result<std::unique_ptr<Aead>> aead = make_aead(engine, kKey, Aead::Use::kSeal);
  if (!aead.ok()) return cost;
  cost.small_ns =
      seal_ns(*aead.value(), Bytes(kPlain).first(64), std::span(sealed).first(64 + kTag), 64);
  cost.bulk_ns = seal_ns(*aead.value(), kPlain, sealed, 8);
  return cost;
}

Engine chosen_engine() {
  static const Engine engine = decide();
  return engine;
}

}  // namespace farcall::link
