#include "security/ed25519.h"

#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include "security/crypto.h"
#include "security/file.h"
#include "security/x509.h"

namespace farcall::security::ed25519 {
namespace {

using DigestPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<&EVP_MD_CTX_free>>;

// EVP's functions take keys they do not change as such that they may.
EVP_PKEY* raw(const evp_pkey_st& key) { return const_cast<EVP_PKEY*>(&key); }

const unsigned char* octets(const void* at) { return static_cast<const unsigned char*>(at); }

bool is_ed25519(const KeyPtr& key) { return EVP_PKEY_is_a(key.get(), "ED25519") == 1; }

// Valid as long as the BIO.
std::span<const std::byte> bytes_in(const BioPtr& bio) {
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(bio.get(), &text);
  return std::as_bytes(std::span(text, static_cast<std::size_t>(bytes)));
}

}  // namespace

void FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Status make_pair(const std::string& private_path, const std::string& public_path) {
  init_crypto();
  KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return library_failure("make an Ed25519 key");
  BioPtr secret(BIO_new(BIO_s_mem()));  // OpenSSL wipes a memory BIO when it frees it
  if (!secret || PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0,
                                               nullptr, nullptr) != 1) {
    return library_failure("write an Ed25519 key");
  }
  Result<std::string> open = public_pem(*key);
  if (!open.ok()) return open.status();
  FARCALL_TRY(write_new_file(private_path, bytes_in(secret), 0600));
  Status written = write_new_file(public_path, bytes_of(open.value()), 0644);
  if (!written.ok()) ::unlink(private_path.c_str());
  return written;
}

Result<KeyPtr> read_private(const std::string& path, const std::string& maker) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0 && (facts.st_mode & 077) != 0) {
    return Status(Code::kDenied, path + " can be read by others than its owner: chmod 600 it");
  }
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  auto parsed = parse_key(pem->bytes(), path);
  if (!parsed.ok()) return parsed.status();
  KeyPtr key(parsed->release());
  if (is_ed25519(key)) return key;
  return Status(Code::kDenied, path + " holds no Ed25519 key: " + maker + " makes one");
}

Result<std::vector<KeyPtr>> read_public(const std::string& path, const std::string& maker) {
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  init_crypto();
  BioPtr text(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  std::vector<KeyPtr> keys;
  for (;;) {
    KeyPtr key(text ? PEM_read_bio_PUBKEY(text.get(), nullptr, nullptr, nullptr) : nullptr);
    if (!key) break;
    if (!is_ed25519(key)) {
      return Status(Code::kDenied, path + " holds a key that is not of Ed25519");
    }
    keys.push_back(std::move(key));
  }
  take_crypto_error();  // the end of the file is one, to OpenSSL
  if (!keys.empty()) return keys;
  return Status(Code::kDenied, path + " holds no public key in PEM: it is the .pub file that " +
                                   maker + " writes, never the .key");
}

Result<Signature> sign(const evp_pkey_st& key, std::string_view text) {
  Signature signature{};
  std::size_t bytes = signature.size();
  DigestPtr digest(EVP_MD_CTX_new());
  if (!digest || EVP_DigestSignInit(digest.get(), nullptr, nullptr, nullptr, raw(key)) != 1 ||
      EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &bytes,
                     octets(text.data()), text.size()) != 1 ||
      bytes != signature.size()) {
    return library_failure("sign");
  }
  return signature;
}

bool is_signed(const evp_pkey_st& key, std::string_view text, const Signature& signature) {
  DigestPtr digest(EVP_MD_CTX_new());
  const bool good = digest &&
                    EVP_DigestVerifyInit(digest.get(), nullptr, nullptr, nullptr, raw(key)) == 1 &&
                    EVP_DigestVerify(digest.get(), octets(signature.data()), signature.size(),
                                     octets(text.data()), text.size()) == 1;
  if (!good) take_crypto_error();
  return good;
}

Result<std::string> public_pem(const evp_pkey_st& key) {
  BioPtr text(BIO_new(BIO_s_mem()));
  if (!text || PEM_write_bio_PUBKEY(text.get(), raw(key)) != 1) {
    return library_failure("write a public key");
  }
  const auto bytes = bytes_in(text);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace farcall::security::ed25519
