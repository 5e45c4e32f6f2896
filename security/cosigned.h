// Cosigned: bytes that one or several people sign with Ed25519, one after the other.
//
//   Cosigned text{.body = bytes};
//   FARCALL_TRY(cosign("farcall code manifest 1", ana, &text));    // and then ben
//   std::vector<std::byte> file = encode(text);
//   Result<std::vector<LeaseKeyId>> by = check_cosigned(label, text, keys, 2);
//
// Each signature is over the label, a zero byte and the body, so that what was signed for one use
// proves nothing in another, and nobody signs another's signature. Signatures stand in the order of
// their keys' ids, each key once: one set of signatures has one encoding.
// Owner: plain values.  Threads: any.  Parsers take hostile bytes.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "security/lease_keys.h"
#include "transport/base/limits_manifest.h"
#include "transport/base/status.h"

namespace farcall::security {

struct Cosigned {
  struct Signature {
    LeaseKeyId key{};
    ed25519::Signature bytes{};
    friend bool operator==(const Signature&, const Signature&) = default;
  };
  std::vector<std::byte> body;
  std::vector<Signature> signatures;  // by key, at most limits::kCosignersMax
};

std::vector<std::byte> encode(const Cosigned& text);
// Signatures unseen.  Errors: kMalformed.
Result<Cosigned> read_cosigned(std::span<const std::byte> bytes);

// Errors: kDenied (that key has signed it), kOverQuota (too many have), kSystem.
Status cosign(std::string_view label, const LeaseKey& key, Cosigned* text);
// Who of `keys` signed; a signature of a key that is not among them counts for nothing.
// Errors: kDenied when fewer than `needed` did, or a known key's signature is not of this body.
Result<std::vector<LeaseKeyId>> check_cosigned(std::string_view label, const Cosigned& text,
                                               const LeaseKeys& keys, std::size_t needed);

}  // namespace farcall::security
