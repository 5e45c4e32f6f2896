// SessionKeys and SessionId: what a session is made of, and nothing else.
//
//   Result<SessionKeys> keys = derive_session_keys(control, id, floors);   // both ends compute the
//   same TrafficKey& mine = keys.value().at(kLaneCalls, Direction::kToServer);
//
// Owner: whoever holds the object; move-only, wiped when moved from and when destroyed.
// Threads: external lock.  Never printed, never written to a file.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "transport/base/status.h"
#include "transport/link/cipher.h"

namespace farcall::security {
class TlsChannel;
}

namespace farcall::link {

inline constexpr std::uint8_t kLaneCalls = 0;  // records full of whole frames
inline constexpr std::uint8_t kLaneBulk = 1;   // records of raw payload bytes
inline constexpr std::size_t kLanes = 2;
static_assert(std::tuple_size_v<LaneFloors> == kLanes);

enum class Role : std::uint8_t { kClient = 0, kServer = 1 };
enum class Direction : std::uint8_t { kToServer = 0, kToClient = 1 };

// Names one session in the clear, so that a lane can say where it belongs. Not a secret: whoever
// knows it still cannot seal the lane's first record.
struct SessionId {
  std::array<std::byte, 16> bytes{};
  friend bool operator==(const SessionId&, const SessionId&) = default;
};
// Random, from the kernel.
SessionId make_session_id();
// 32 hexadecimal digits.
std::string to_string(const SessionId& id);

// Key and static IV of one direction of one lane, and what they are for at least.
struct TrafficKey {
  std::array<std::byte, 32> key{};
  std::array<std::byte, 12> iv{};
  LaneFloor floor{};
};
inline constexpr std::size_t kTrafficKeyBytes = 44;  // without the floor

class SessionKeys {
 public:
  static constexpr std::size_t kBytes = kLanes * 2 * (kTrafficKeyBytes + 2);

  SessionKeys() = default;
  SessionKeys(SessionKeys&& other) noexcept;
  SessionKeys& operator=(SessionKeys&& other) noexcept;
  ~SessionKeys();

  TrafficKey& at(std::uint8_t lane, Direction direction);
  const TrafficKey& at(std::uint8_t lane, Direction direction) const;

  // To and from kBytes bytes, for the worker's socketpair. The caller wipes those bytes.
  void save(std::span<std::byte, kBytes> out) const;
  static SessionKeys load(std::span<const std::byte, kBytes> in);

 private:
  std::array<TrafficKey, kLanes * 2> keys_{};
};

// Both ends get the same keys from their end of one TLS connection: the TLS 1.3 exporter with label
// "EXPERIMENTAL-farcall data v1" and context {session id, lane, direction, the lane's floor}: with
// another floor at one end there is no key in common.
// Errors: kSystem when the library refuses.
Result<SessionKeys> derive_session_keys(security::TlsChannel& control, const SessionId& id,
                                        const LaneFloors& floors);

}  // namespace farcall::link
