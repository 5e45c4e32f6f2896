#include "transport/link/cipher.h"

#include <cstdlib>

#include "transport/base/log.h"

namespace farcall::link {

LaneFloors floors_from_environment() {
  LaneFloors floors;
  const char* asked = ::secure_getenv("FARCALL_CIPHER_FLOOR");
  if (asked == nullptr || *asked == 0) return floors;
  const std::optional<Cipher> cipher = cipher_named(asked);
  if (!cipher) {
    FARCALL_LOG_WARN(
        "FARCALL_CIPHER_FLOOR=%s is neither aes-256-gcm nor aes-128-gcm; insisting on "
        "aes-256-gcm",
        asked);
    return floors;
  }
  for (LaneFloor& floor : floors) floor.cipher = *cipher;
  return floors;
}

}  // namespace farcall::link
