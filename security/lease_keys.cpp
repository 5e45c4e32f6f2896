#include "security/lease_keys.h"

#include <algorithm>
#include <filesystem>

#include "security/crypto.h"
#include "security/x509.h"

namespace farcall::security {
namespace {

constexpr const char* kMaker = "farcall lease keygen";

std::string labelled(std::string_view label, std::span<const std::byte> bytes) {
  std::string text(label);
  text += '\0';
  return text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<LeaseKeyId> id_of(const ed25519::KeyPtr& key) {
  unsigned char* der = nullptr;
  const int bytes = i2d_PUBKEY(key.get(), &der);
  std::array<unsigned char, 32> hash{};
  const bool hashed = bytes > 0 && EVP_Digest(der, static_cast<std::size_t>(bytes), hash.data(),
                                              nullptr, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  if (!hashed) return library_failure("name a key of leases");
  LeaseKeyId id;
  std::copy_n(std::as_bytes(std::span(hash)).begin(), id.size(), id.begin());
  return id;
}

}  // namespace

std::string to_string(const LeaseKeyId& id) { return to_hex(id); }

Result<LeaseKey> LeaseKey::load(const std::string& path) {
  auto loaded = ed25519::read_private(path, kMaker);
  if (!loaded.ok()) return loaded.status();
  Result<LeaseKeyId> id = id_of(loaded.value());
  if (!id.ok()) return id.status();
  LeaseKey key;
  key.key_ = std::move(loaded).value();
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
  auto signature = ed25519::sign(*key_, labelled(label, *bytes));
  if (!signature.ok()) return signature.status();
  bytes->insert(bytes->end(), signature->begin(), signature->end());
  return ok();
}

Status LeaseKeys::add_file(const std::string& path) {
  auto keys = ed25519::read_public(path, kMaker);
  if (!keys.ok()) return keys.status();
  for (ed25519::KeyPtr& key : keys.value()) {
    Result<LeaseKeyId> id = id_of(key);
    if (!id.ok()) return id.status();
    if (knows(id.value())) continue;
    if (keys_.size() == limits::kLeaseKeysMax) {
      return {Code::kOverQuota,
              path + ": more keys than " + std::to_string(limits::kLeaseKeysMax) + " to believe"};
    }
    Known one;
    one.id = id.value();
    one.key = std::move(key);
    keys_.push_back(std::move(one));
  }
  return ok();
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
  ed25519::Signature signature{};
  std::copy_n(bytes.end() - kSignatureBytes, kSignatureBytes, signature.begin());
  const std::string text = labelled(label, bytes.first(bytes.size() - kSignatureBytes));
  if (ed25519::is_signed(*known->key, text, signature)) return ok();
  return {Code::kDenied, "it was changed after key " + to_string(id) +
                             " signed it, or never signed by it; get it anew from its issuer"};
}

Status make_lease_key(const std::string& private_path, const std::string& public_path) {
  return ed25519::make_pair(private_path, public_path);
}

}  // namespace farcall::security
