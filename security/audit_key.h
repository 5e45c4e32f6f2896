// The Ed25519 key of an audit log: its checkpoints are signed with it, and checked with its public
// half, which is not secret and should be kept where the log's machine cannot change it.
//
//   FARCALL_TRY(make_audit_key("audit"));          // audit.key (0600) and audit.pub
//   Result<AuditSigner> signer = AuditSigner::load("audit.key");
//   Result<AuditVerifier> verifier = AuditVerifier::load("audit.pub");
//
// Owner: values, move-only.  Threads: any, once loaded.
#pragma once
#include <string>
#include <string_view>

#include "security/ed25519.h"
#include "transport/base/status.h"

namespace farcall::security {

using AuditSignature = ed25519::Signature;

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
  AuditVerifier(ed25519::KeyPtr key, std::string fingerprint)
      : key_(std::move(key)), fingerprint_(std::move(fingerprint)) {}
  ed25519::KeyPtr key_;
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
  AuditSigner(ed25519::KeyPtr key, std::string fingerprint)
      : key_(std::move(key)), fingerprint_(std::move(fingerprint)) {}
  ed25519::KeyPtr key_;
  std::string fingerprint_;
};

}  // namespace farcall::security
