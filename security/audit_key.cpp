#include "security/audit_key.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <span>
#include <vector>

#include "security/crypto.h"
#include "security/x509.h"
#include "transport/base/unique.h"

namespace farcall::security {
namespace {

using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeWith<&EVP_MD_CTX_free>>;

const unsigned char* octets(const void* at) { return static_cast<const unsigned char*>(at); }

Result<std::string> fingerprint_of(EVP_PKEY* key) {
  std::array<unsigned char, 32> raw{};
  std::size_t bytes = raw.size();
  std::array<std::byte, 32> digest{};
  unsigned digest_bytes = 0;
  if (EVP_PKEY_get_raw_public_key(key, raw.data(), &bytes) != 1 || bytes != raw.size() ||
      EVP_Digest(raw.data(), raw.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 &digest_bytes, EVP_sha256(), nullptr) != 1) {
    return Status(Code::kSystem, "take a key's fingerprint: " + take_crypto_error());
  }
  return to_hex(digest);
}

Status is_ed25519(const EVP_PKEY* key, const std::string& path) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return ok();
  return {Code::kDenied, path + " holds no Ed25519 key: farcall audit keygen makes one"};
}

Status write_new(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file && errno == EEXIST) {
    return {Code::kDenied, path + " exists; it is not replaced: choose another name"};
  }
  if (!file) return Status::system("make " + path);
  const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
  if (written != static_cast<ssize_t>(bytes.size()) || ::fsync(file.get()) != 0) {
    Status why = Status::system("write " + path, written < 0 ? errno : ENOSPC);
    ::unlink(path.c_str());
    return why;
  }
  return ok();
}

std::span<const std::byte> bytes_of(BIO* text) {
  char* at = nullptr;
  const long bytes = BIO_get_mem_data(text, &at);
  return std::as_bytes(std::span(at, static_cast<std::size_t>(bytes)));
}

}  // namespace

void FreeAuditKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Status make_audit_key(const std::string& stem) {
  init_crypto();
  KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  BioPtr secret(BIO_new(BIO_s_mem()));  // OpenSSL wipes a memory BIO when it frees it
  BioPtr open(BIO_new(BIO_s_mem()));
  if (!key || !secret || !open ||
      PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                    nullptr) != 1 ||
      PEM_write_bio_PUBKEY(open.get(), key.get()) != 1) {
    return {Code::kSystem, "make an audit key: " + take_crypto_error()};
  }
  FARCALL_TRY(write_new(stem + ".key", bytes_of(secret.get()), 0600));
  Status written = write_new(stem + ".pub", bytes_of(open.get()), 0644);
  if (!written.ok()) ::unlink((stem + ".key").c_str());
  return written;
}

Result<AuditVerifier> AuditVerifier::load(const std::string& path) {
  init_crypto();
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  BioPtr text(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  AuditKeyPtr key(text ? PEM_read_bio_PUBKEY(text.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!key) {
    take_crypto_error();
    return Status(Code::kDenied, path + " holds no public key in PEM: it is the file audit.pub");
  }
  if (Status kind = is_ed25519(key.get(), path); !kind.ok()) return kind;
  Result<std::string> fingerprint = fingerprint_of(key.get());
  if (!fingerprint.ok()) return fingerprint.status();
  return AuditVerifier(std::move(key), std::move(fingerprint).value());
}

bool AuditVerifier::is_signed(std::string_view text, const AuditSignature& signature) const {
  DigestContext context(EVP_MD_CTX_new());
  const bool good =
      context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(context.get(), octets(signature.data()), signature.size(),
                       octets(text.data()), text.size()) == 1;
  if (!good) take_crypto_error();
  return good;
}

Result<AuditSigner> AuditSigner::load(const std::string& path) {
  init_crypto();
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0 && (facts.st_mode & 077) != 0) {
    return Status(Code::kDenied, path + " can be read by others than its owner: chmod 600 it");
  }
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  Result<KeyPtr> key = parse_key(pem->bytes(), path);
  if (!key.ok()) return key.status();
  if (Status kind = is_ed25519(key->get(), path); !kind.ok()) return kind;
  Result<std::string> fingerprint = fingerprint_of(key->get());
  if (!fingerprint.ok()) return fingerprint.status();
  return AuditSigner(AuditKeyPtr(key->release()), std::move(fingerprint).value());
}

Result<AuditSignature> AuditSigner::sign(std::string_view text) const {
  AuditSignature signature{};
  std::size_t bytes = signature.size();
  DigestContext context(EVP_MD_CTX_new());
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &bytes,
                     octets(text.data()), text.size()) != 1 ||
      bytes != signature.size()) {
    return Status(Code::kSystem, "sign a checkpoint: " + take_crypto_error());
  }
  return signature;
}

Result<std::string> AuditSigner::public_pem() const {
  BioPtr text(BIO_new(BIO_s_mem()));
  if (!text || PEM_write_bio_PUBKEY(text.get(), key_.get()) != 1) {
    return Status(Code::kSystem, "write a public key: " + take_crypto_error());
  }
  const std::span<const std::byte> bytes = bytes_of(text.get());
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace farcall::security
