// Cipher, LaneFloor: what a lane's records may be sealed with, and how long with one key.
//
//   const LaneFloor agreed = stricter(mine, theirs);       // both ends come to the same
//   key.floor = agreed;                                    // and the keys are made for it
//   const Cipher used = at_least(agreed.cipher, wanted);   // never below it
//
// A floor is policy: what a lease, a server and a client insist on. It is said in the hellos,
// inside TLS; it goes into the derivation of the keys, so that two ends that were told different
// floors share no key; and whoever opens a record refuses one that was sealed with less. What a
// sender uses above its floor is up to it (strength.h). Threads: plain values.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "transport/base/limits_strength.h"

namespace farcall::link {

// The numbers stand in the flags of records: transport/README.md. The smaller, the stronger.
enum class Cipher : std::uint8_t { kAes256Gcm = 0, kAes128Gcm = 1 };
inline constexpr std::uint8_t kCiphers = 2;
constexpr std::size_t key_bytes(Cipher cipher) { return cipher == Cipher::kAes128Gcm ? 16 : 32; }
constexpr Cipher at_least(Cipher floor, Cipher wanted) { return std::min(floor, wanted); }
constexpr const char* to_string(Cipher cipher) {
  return cipher == Cipher::kAes128Gcm ? "AES-128-GCM" : "AES-256-GCM";
}
// "aes-256-gcm", "aes-128-gcm".
constexpr std::optional<Cipher> cipher_named(std::string_view word) {
  if (word == "aes-256-gcm") return Cipher::kAes256Gcm;
  if (word == "aes-128-gcm") return Cipher::kAes128Gcm;
  return std::nullopt;
}

// Of one lane, in both directions.
struct LaneFloor {
  Cipher cipher = Cipher::kAes256Gcm;               // or a stronger one
  std::uint8_t rekey_log2 = limits::kRekeyLog2Max;  // at most 2^this bytes under one key
  bool is_sound() const {
    return static_cast<std::uint8_t>(cipher) < kCiphers && rekey_log2 >= limits::kRekeyLog2Min &&
           rekey_log2 <= limits::kRekeyLog2Max;
  }
  std::uint64_t rekey_bytes() const { return std::uint64_t{1} << rekey_log2; }
  friend bool operator==(const LaneFloor&, const LaneFloor&) = default;
};
constexpr LaneFloor stricter(const LaneFloor& one, const LaneFloor& other) {
  return {at_least(one.cipher, other.cipher), std::min(one.rekey_log2, other.rekey_log2)};
}
// The least that any policy may say.
inline constexpr LaneFloor kLowestFloor{Cipher::kAes128Gcm, limits::kRekeyLog2Max};

// Of a session: the lane of calls, the lane of payloads.
using LaneFloors = std::array<LaneFloor, 2>;
constexpr LaneFloors stricter(const LaneFloors& one, const LaneFloors& other) {
  return {stricter(one[0], other[0]), stricter(one[1], other[1])};
}
// Is `floors` nowhere below `least`?
constexpr bool holds(const LaneFloors& floors, const LaneFloors& least) {
  return stricter(floors, least) == floors;
}

// What this process insists on as a client: FARCALL_CIPHER_FLOOR=aes-256-gcm|aes-128-gcm, for both
// lanes; AES-256-GCM without it, or with another word, which is warned of.
LaneFloors floors_from_environment();

}  // namespace farcall::link
