#include "transport/link/keys.h"

#include <cstring>

#include "security/crypto.h"
#include "security/tls_channel.h"
#include "transport/base/check.h"
#include "transport/base/secure_arena.h"

namespace farcall::link {

SessionId make_session_id() {
  SessionId id;
  security::fill_random(id.bytes);
  return id;
}

std::string to_string(const SessionId& id) { return security::to_hex(id.bytes); }

SessionKeys::SessionKeys(SessionKeys&& other) noexcept : keys_(other.keys_) {
  wipe(&other.keys_, sizeof(other.keys_));
}

SessionKeys& SessionKeys::operator=(SessionKeys&& other) noexcept {
  if (this == &other) return *this;
  keys_ = other.keys_;
  wipe(&other.keys_, sizeof(other.keys_));
  return *this;
}

SessionKeys::~SessionKeys() { wipe(&keys_, sizeof(keys_)); }

TrafficKey& SessionKeys::at(std::uint8_t lane, Direction direction) {
  FARCALL_CHECK(lane < kLanes, lane);
  return keys_[(lane % kLanes) * 2 + static_cast<std::size_t>(direction)];
}

const TrafficKey& SessionKeys::at(std::uint8_t lane, Direction direction) const {
  return const_cast<SessionKeys*>(this)->at(lane, direction);
}

void SessionKeys::save(std::span<std::byte, kBytes> out) const {
  std::byte* to = out.data();
  for (const TrafficKey& key : keys_) {
    std::memcpy(to, key.key.data(), key.key.size());
    std::memcpy(to + key.key.size(), key.iv.data(), key.iv.size());
    to += kTrafficKeyBytes;
    *to++ = static_cast<std::byte>(key.floor.cipher);
    *to++ = static_cast<std::byte>(key.floor.rekey_log2);
  }
}

SessionKeys SessionKeys::load(std::span<const std::byte, kBytes> in) {
  SessionKeys keys;
  const std::byte* from = in.data();
  for (TrafficKey& key : keys.keys_) {
    std::memcpy(key.key.data(), from, key.key.size());
    std::memcpy(key.iv.data(), from + key.key.size(), key.iv.size());
    from += kTrafficKeyBytes;
    key.floor.cipher = static_cast<Cipher>(*from++);
    key.floor.rekey_log2 = std::to_integer<std::uint8_t>(*from++);
    if (!key.floor.is_sound()) key.floor = LaneFloor{};  // the strictest of ciphers
  }
  return keys;
}

Result<SessionKeys> derive_session_keys(security::TlsChannel& control, const SessionId& id,
                                        const LaneFloors& floors) {
  SessionKeys keys;
  std::array<std::byte, kTrafficKeyBytes> fresh;
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    for (std::uint8_t direction = 0; direction < 2; ++direction) {
      std::array<std::byte, sizeof(id.bytes) + 4> context{};  // id, lane, direction, floor
      std::memcpy(context.data(), id.bytes.data(), id.bytes.size());
      context[id.bytes.size()] = std::byte{lane};
      context[id.bytes.size() + 1] = std::byte{direction};
      context[id.bytes.size() + 2] = static_cast<std::byte>(floors[lane].cipher);
      context[id.bytes.size() + 3] = std::byte{floors[lane].rekey_log2};
      Status derived = control.export_key("EXPERIMENTAL-farcall data v1", context, fresh);
      if (!derived.ok()) return derived;
      TrafficKey& key = keys.at(lane, static_cast<Direction>(direction));
      std::memcpy(key.key.data(), fresh.data(), key.key.size());
      std::memcpy(key.iv.data(), fresh.data() + key.key.size(), key.iv.size());
      key.floor = floors[lane];
      wipe(fresh);
    }
  }
  return keys;
}

}  // namespace farcall::link
