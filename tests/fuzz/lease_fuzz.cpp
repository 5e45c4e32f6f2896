// How it works: the input is tried as a lease token and as a list of revoked leases, with their
// signatures unseen, since no fuzzer can sign. What parses as a token must be signable, and its
// encoding must be the input but for the key's id and the signature: one token has one encoding.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "security/lease_file.h"
#include "security/lease_token.h"
#include "tests/fuzz/signer.h"

using namespace farcall;
using namespace farcall::security;
using fuzz::new_key;
using fuzz::require;

namespace {

constexpr std::size_t kKeyIdAt = 5;
constexpr std::size_t kKeyIdEnd = kKeyIdAt + sizeof(LeaseKeyId);

void token(std::span<const std::byte> bytes, const LeaseKey& key, const LeaseKeys& keys) {
  require(!verify_lease(bytes, keys).ok());
  Result<LeaseToken> lease = read_lease(bytes);
  if (!lease.ok()) return;
  Result<LeaseBytes> again = sign_lease(lease.value(), key);
  require(again.ok() && again->size() == bytes.size());
  for (std::size_t at = 0; at < bytes.size() - kSignatureBytes; ++at) {
    require((at >= kKeyIdAt && at < kKeyIdEnd) || again.value()[at] == bytes[at]);
  }
  lease->key_id = key.id();
  Result<LeaseToken> back = verify_lease(again.value(), keys);
  require(back.ok() && back.value() == lease.value());
}

void list(std::span<const std::byte> bytes, const LeaseKey& key, const LeaseKeys& keys) {
  require(!verify_revoked(bytes, keys).ok());
  Result<RevokedLeases> revoked = read_revoked(bytes);
  if (!revoked.ok()) return;
  Result<std::vector<std::byte>> again = sign_revoked(revoked.value(), key);
  require(again.ok() && again->size() == bytes.size());
  require(verify_revoked(again.value(), keys)->entries == revoked->entries);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const LeaseKey key = new_key();
  static const LeaseKeys keys = std::move(key.own()).value();
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  token(bytes, key, keys);
  list(bytes, key, keys);
  return 0;
}
