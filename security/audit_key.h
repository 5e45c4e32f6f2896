// The Ed25519 key of an audit log: its checkpoints are signed with it, and checked with its public
// half, which is not secret and should be kept where the log's machine cannot change it.
//
//   FARCALL_TRY(make_audit_key("audit"));          // audit.key (0600) and audit.pub
//   Result<AuditSigner> signer = AuditSigner::load("audit.key");
//   Result<AuditVerifier> verifier = AuditVerifier::load("audit.pub");
//
// Owner: values, move-only.  Threads: any, once loaded.
// Source: RFC 8032; PEM as in RFC 8410.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "transport/base/status.h"

struct evp_pkey_st;

namespace farcall::security {

struct FreeAuditKey {
  void operator()(evp_pkey_st* key) const;
};
using AuditKeyPtr = std::unique_ptr<evp_pkey_st, FreeAuditKey>;
using AuditSignature = std::array<std::byte, 64>;

// Writes <stem>.key (0600) and <stem>.pub; never replaces a key.  Errors: kDenied, kSystem.
Status make_audit_key(const std::string& stem);

// Checks signatures.
class AuditVerifier {
 public:
  // A public key, PEM.  Errors: kNotFound, kDenied (no Ed25519 key), kSystem.
  static Result<AuditVerifier> load(const std::string& path);
  bool is_signed(std::string_view text, const AuditSignature& signature) const;
  // SHA-256 of the raw public key, hexadecimal.
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  friend class AuditSigner;
  AuditVerifier(AuditKeyPtr key, std::string fingerprint)
      : key_(std::move(key)), fingerprint_(std::move(fingerprint)) {}
  AuditKeyPtr key_;
  std::string fingerprint_;
};

class AuditSigner {
 public:
  // A private key, PEM, that nobody but its owner can read.
  // Errors: kNotFound, kDenied (no Ed25519 key, or others can read it), kSystem.
  static Result<AuditSigner> load(const std::string& path);
  Result<AuditSignature> sign(std::string_view text) const;
  const std::string& fingerprint() const { return fingerprint_; }
  // The public half, PEM.
  Result<std::string> public_pem() const;

 private:
  AuditSigner(AuditKeyPtr key, std::string fingerprint)
      : key_(std::move(key)), fingerprint_(std::move(fingerprint)) {}
  AuditKeyPtr key_;
  std::string fingerprint_;
};

}  // namespace farcall::security
