// Whose word counts: the keys that sign lease tokens, and those that a server believes.
//
//   FARCALL_TRY(make_lease_key("lease.key", "lease.pub"));         // once
//   Result<LeaseKey> key = LeaseKey::load("lease.key");            // the issuer
//   Result<LeaseKeys> keys = LeaseKeys::load("/etc/farcall/lease-keys");   // a server
//
// Ed25519. Every signature is over a label and the bytes, so that what was signed for
// one use proves nothing in another.
// Owner: values, move-only; private keys are OpenSSL's to wipe.  Threads: any, once loaded.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "security/ed25519.h"
#include "security/lease_token.h"
#include "transport/base/status.h"

namespace farcall::security {

using ed25519::kSignatureBytes;
inline constexpr std::string_view kLeaseLabel = "farcall lease token 1";
inline constexpr std::string_view kRevokedLabel = "farcall revoked leases 1";

class LeaseKeys {
 public:
  // path  a PEM file of one public key or several, or a folder, of which every *.pub is read
  // Errors: kNotFound (no such file, no key in the folder), kDenied (a file that holds no Ed25519
  // public key, or a private one), kOverQuota (more than limits::kLeaseKeysMax).
  static Result<LeaseKeys> load(const std::string& path);

  std::size_t size() const { return keys_.size(); }
  bool knows(const LeaseKeyId& id) const;
  // Is the end of `bytes` the signature, by the key of that id, of what comes before it?
  // Errors: kDenied (unknown key; not its signature).
  Status check(std::string_view label, const LeaseKeyId& id,
               std::span<const std::byte> bytes) const;

 private:
  friend class LeaseKey;
  struct Known {
    LeaseKeyId id{};
    ed25519::KeyPtr key;
  };
  Status add_file(const std::string& path);
  std::vector<Known> keys_;
};

class LeaseKey {
 public:
  // Errors: kNotFound, kDenied (no Ed25519 key, or others can read it), kSystem.
  static Result<LeaseKey> load(const std::string& path);

  const LeaseKeyId& id() const { return id_; }
  // What believes this key and no other: for an issuer to know its own again.  Errors: kSystem.
  Result<LeaseKeys> own() const;
  // Adds the signature of `label` and `bytes` behind `bytes`.  Errors: kSystem.
  Status sign(std::string_view label, std::vector<std::byte>* bytes) const;

 private:
  ed25519::KeyPtr key_;
  LeaseKeyId id_{};
};

// A new key pair in two PEM files, the private one readable by its owner only.
// Errors: kDenied when a file exists, kSystem.
Status make_lease_key(const std::string& private_path, const std::string& public_path);

std::string to_string(const LeaseKeyId& id);  // 16 hexadecimal digits

}  // namespace farcall::security
