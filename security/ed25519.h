// Ed25519 keys in files, and what they sign: lease tokens (lease_keys.h) and the checkpoints of
// audit logs (audit_key.h).
//
//   FARCALL_TRY(ed25519::make_pair("lease.key", "lease.pub"));
//   Result<ed25519::KeyPtr> key = ed25519::read_private("lease.key", "farcall lease keygen");
//   Result<ed25519::Signature> signature = ed25519::sign(*key.value(), text);
//
// Callers put a label of their own before what is signed, so that it proves nothing elsewhere.
// Owner: KeyPtr; OpenSSL wipes private keys.  Threads: any, once loaded.
// Source: RFC 8032; PEM as in RFC 8410.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/status.h"

struct evp_pkey_st;

namespace farcall::security::ed25519 {

struct FreeKey {
  void operator()(evp_pkey_st* key) const;
};
using KeyPtr = std::unique_ptr<evp_pkey_st, FreeKey>;

inline constexpr std::size_t kSignatureBytes = 64;
using Signature = std::array<std::byte, kSignatureBytes>;

// A new key in two PEM files, the private one for its owner alone; replaces none.
// Errors: kDenied when a file exists, kSystem.
Status make_pair(const std::string& private_path, const std::string& public_path);

// maker: the command that makes such keys, for who gave another file.
// Errors: kNotFound, kDenied (no Ed25519 key, or others can read the file), kSystem.
Result<KeyPtr> read_private(const std::string& path, const std::string& maker);
// Every public key of a PEM file, at least one.  Errors: kNotFound, kDenied, kSystem.
Result<std::vector<KeyPtr>> read_public(const std::string& path, const std::string& maker);

// Errors: kSystem.
Result<Signature> sign(const evp_pkey_st& key, std::string_view text);
bool is_signed(const evp_pkey_st& key, std::string_view text, const Signature& signature);

// The public half, PEM.  Errors: kSystem.
Result<std::string> public_pem(const evp_pkey_st& key);

}  // namespace farcall::security::ed25519
