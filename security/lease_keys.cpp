#include "security/lease_keys.h"

#include <openssl/pem.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "security/crypto.h"
#include "security/file.h"
#include "security/x509.h"

namespace farcall::security {
namespace {

using DigestPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<&EVP_MD_CTX_free>>;

Status library_failure(const char* doing) {
  return {Code::kSystem, std::string(doing) + ": " + take_crypto_error()};
}

std::string labelled(std::string_view label, std::span<const std::byte> bytes) {
  std::string text(label);
  text += '\0';
  return text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Result<LeaseKeyId> id_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int bytes = i2d_PUBKEY(key, &der);
  std::array<unsigned char, 32> hash{};
  const bool hashed = bytes > 0 && EVP_Digest(der, static_cast<std::size_t>(bytes), hash.data(),
                                              nullptr, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  if (!hashed) return library_failure("name a key of leases");
  LeaseKeyId id;
  std::copy_n(std::as_bytes(std::span(hash)).begin(), id.size(), id.begin());
  return id;
}

bool is_ed25519(const EVP_PKEY* key) { return EVP_PKEY_is_a(key, "ED25519") == 1; }

BioPtr memory() { return BioPtr(BIO_new(BIO_s_mem())); }

std::span<const std::byte> bytes_in(BIO* bio) {
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(bio, &text);
  return std::as_bytes(std::span(text, static_cast<std::size_t>(bytes)));
}

}  // namespace

void FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

std::string to_string(const LeaseKeyId& id) { return to_hex(id); }

Result<LeaseKey> LeaseKey::load(const std::string& path) {
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  Result<KeyPtr> parsed = parse_key(pem->bytes(), path);
  if (!parsed.ok()) return parsed.status();
  if (!is_ed25519(parsed.value().get())) {
    return Status(Code::kDenied, path + " is no Ed25519 key: farcall lease keygen makes one");
  }
  Result<LeaseKeyId> id = id_of(parsed.value().get());
  if (!id.ok()) return id.status();
  LeaseKey key;
  key.key_.reset(parsed.value().release());
  key.id_ = id.value();
  return key;
}

Result<LeaseKeys> LeaseKey::own() const {
  if (EVP_PKEY_up_ref(key_.get()) != 1) return library_failure("know an own key");
  LeaseKeys keys;
  LeaseKeys::Known one;
  one.id = id_;
  one.key.reset(key_.get());
  keys.keys_.push_back(std::move(one));
  return keys;
}

Status LeaseKey::sign(std::string_view label, std::vector<std::byte>* bytes) const {
  const std::string text = labelled(label, *bytes);
  DigestPtr digest(EVP_MD_CTX_new());
  std::array<unsigned char, kSignatureBytes> signature{};
  std::size_t length = signature.size();
  if (!digest || EVP_DigestSignInit(digest.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(digest.get(), signature.data(), &length, raw(text), text.size()) != 1 ||
      length != signature.size()) {
    return library_failure("sign");
  }
  const auto end = std::as_bytes(std::span(signature));
  bytes->insert(bytes->end(), end.begin(), end.end());
  return ok();
}

Status LeaseKeys::add_file(const std::string& path) {
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  init_crypto();
  BioPtr bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  std::size_t found = 0;
  for (;; ++found) {
    KeyPtr key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
    if (!key) break;
    if (!is_ed25519(key.get())) return {Code::kDenied, path + " holds a key that is no Ed25519"};
    Result<LeaseKeyId> id = id_of(key.get());
    if (!id.ok()) return id.status();
    if (knows(id.value())) continue;
    if (keys_.size() == limits::kLeaseKeysMax) {
      return {Code::kOverQuota,
              path + ": more keys than " + std::to_string(limits::kLeaseKeysMax) + " to believe"};
    }
    Known one;
    one.id = id.value();
    one.key.reset(key.release());
    keys_.push_back(std::move(one));
  }
  take_crypto_error();  // the end of the file is one, to OpenSSL
  if (found != 0) return ok();
  return {Code::kDenied, path +
                             " holds no public key in PEM: a server is given the .pub file that "
                             "farcall lease keygen writes, never the .key"};
}

Result<LeaseKeys> LeaseKeys::load(const std::string& path) {
  LeaseKeys keys;
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    FARCALL_TRY(keys.add_file(path));
    return keys;
  }
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (entry.path().extension() == ".pub") files.push_back(entry.path().string());
  }
  if (error) return Status(Code::kDenied, "read " + path + ": " + error.message());
  if (files.empty()) {
    return Status(Code::kNotFound, path + " holds no *.pub: copy the issuer's public key there");
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) FARCALL_TRY(keys.add_file(file));
  return keys;
}

bool LeaseKeys::knows(const LeaseKeyId& id) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const Known& one) { return one.id == id; });
}

Status LeaseKeys::check(std::string_view label, const LeaseKeyId& id,
                        std::span<const std::byte> bytes) const {
  const auto known =
      std::find_if(keys_.begin(), keys_.end(), [&](const Known& one) { return one.id == id; });
  if (known == keys_.end()) {
    return {Code::kDenied, "it is signed by key " + to_string(id) +
                               ", which this server does not know; its administrator adds the "
                               "issuer's public key to --lease-keys"};
  }
  if (bytes.size() < kSignatureBytes) return {Code::kMalformed, "no room for a signature"};
  const auto signature = bytes.last(kSignatureBytes);
  const std::string text = labelled(label, bytes.first(bytes.size() - kSignatureBytes));
  DigestPtr digest(EVP_MD_CTX_new());
  if (!digest ||
      EVP_DigestVerifyInit(digest.get(), nullptr, nullptr, nullptr, known->key.get()) != 1) {
    return library_failure("check a signature");
  }
  const int good =
      EVP_DigestVerify(digest.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), raw(text), text.size());
  if (good == 1) return ok();
  take_crypto_error();
  return {Code::kDenied, "it was changed after key " + to_string(id) +
                             " signed it, or never signed by it; get it anew from its issuer"};
}

Status make_lease_key(const std::string& private_path, const std::string& public_path) {
  init_crypto();
  KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return library_failure("make an Ed25519 key");
  BioPtr open = memory();
  // OpenSSL wipes a memory BIO when it frees it.
  BioPtr closed(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PUBKEY(open.get(), key.get()) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(closed.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                    nullptr) != 1) {
    return library_failure("write an Ed25519 key");
  }
  FARCALL_TRY(write_new_file(private_path, bytes_in(closed.get()), 0600));
  Status written = write_new_file(public_path, bytes_in(open.get()), 0644);
  if (!written.ok()) (void)::remove(private_path.c_str());
  return written;
}

}  // namespace farcall::security
