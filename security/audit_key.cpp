#include "security/audit_key.h"

#include <openssl/evp.h>

#include "security/crypto.h"
#include "security/x509.h"

namespace farcall::security {
namespace {

constexpr const char* kMaker = "farcall audit keygen";

Result<std::string> fingerprint_of(const ed25519::KeyPtr& key) {
  std::array<unsigned char, 32> raw{};
  std::size_t bytes = raw.size();
  std::array<std::byte, 32> digest{};
  if (EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &bytes) != 1 || bytes != raw.size() ||
      EVP_Digest(raw.data(), raw.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
                 EVP_sha256(), nullptr) != 1) {
    return library_failure("take a key's fingerprint");
  }
  return to_hex(digest);
}

}  // namespace

Status make_audit_key(const std::string& stem) {
  return ed25519::make_pair(stem + ".key", stem + ".pub");
}

Result<AuditVerifier> AuditVerifier::load(const std::string& path) {
  auto keys = ed25519::read_public(path, kMaker);
  if (!keys.ok()) return keys.status();
  if (keys->size() != 1) return Status(Code::kDenied, path + " holds more keys than one");
  Result<std::string> fingerprint = fingerprint_of(keys->front());
  if (!fingerprint.ok()) return fingerprint.status();
  return AuditVerifier(std::move(keys->front()), std::move(fingerprint).value());
}

bool AuditVerifier::is_signed(std::string_view text, const AuditSignature& signature) const {
  return ed25519::is_signed(*key_, text, signature);
}

Result<AuditSigner> AuditSigner::load(const std::string& path) {
  auto key = ed25519::read_private(path, kMaker);
  if (!key.ok()) return key.status();
  Result<std::string> fingerprint = fingerprint_of(key.value());
  if (!fingerprint.ok()) return fingerprint.status();
  return AuditSigner(std::move(key).value(), std::move(fingerprint).value());
}

Result<AuditSignature> AuditSigner::sign(std::string_view text) const {
  return ed25519::sign(*key_, text);
}

Result<std::string> AuditSigner::public_pem() const { return ed25519::public_pem(*key_); }

}  // namespace farcall::security
