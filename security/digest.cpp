#include "security/digest.h"

#include <openssl/evp.h>

#include "security/crypto.h"

namespace farcall::security {

std::array<std::byte, 32> sha256(std::span<const std::byte> bytes) {
  init_crypto();
  std::array<std::byte, 32> digest{};
  std::size_t written = 0;
  const int done = EVP_Q_digest(nullptr, "SHA256", nullptr, bytes.data(), bytes.size(),
                                reinterpret_cast<unsigned char*>(digest.data()), &written);
  if (done != 1) digest = {};
  return digest;
}

}  // namespace farcall::security
