// A key of one's own, and the request to have it certified: the key never leaves its machine.
//
//   Result<KeyRequest> mine = make_key_request();
//   … send mine->request; save mine->key_pem beside what comes back …
//
// The request is a PKCS#10 one (RFC 2986), DER, signed with the key; only the key is taken from it,
// because who its owner is the authority knows better. P-256.  Threads: any.
#pragma once
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "security/identity.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

struct KeyRequest {
  SecureBuffer key_pem;
  std::vector<std::byte> request;
};
// Errors: kSystem.
Result<KeyRequest> make_key_request();
// For the key that one has: its certificate is renewed, and it stays.  Errors: kDenied, kSystem.
Result<KeyRequest> make_key_request(const IdentityFiles& files);

// Is it one, and sound?  Errors: kDenied.
Status check_key_request(std::span<const std::byte> request);

// SHA-256 of the key as certificates hold it (SubjectPublicKeyInfo): of a signing request's, and of
// the certificate in a PEM file.  Errors: kDenied, kNotFound, kSystem.
Result<std::array<std::byte, 32>> hash_of_requested_key(std::span<const std::byte> request);
Result<std::array<std::byte, 32>> hash_of_certified_key(const std::string& certificate_path);

}  // namespace farcall::security
