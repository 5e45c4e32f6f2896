#include "security/key_request.h"

#include <array>
#include <string_view>

#include "security/ca_parts.h"
#include "security/crypto.h"
#include "security/digest.h"
#include "transport/base/limits_authority.h"

namespace farcall::security {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, FreeWith<&X509_REQ_free>>;

Status refused(const char* what) {
  take_crypto_error();
  return {Code::kDenied, std::string("the signing request ") + what};
}

Result<std::vector<std::byte>> request_for(EVP_PKEY* key) {
  RequestPtr request(X509_REQ_new());
  const bool made = request && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                    X509_REQ_set_pubkey(request.get(), key) == 1 &&
                    X509_REQ_sign(request.get(), key, EVP_sha256()) != 0;
  if (!made) return library_failure("make a signing request");
  unsigned char* der = nullptr;
  const int bytes = i2d_X509_REQ(request.get(), &der);
  if (bytes <= 0) return library_failure("write a signing request");
  const auto* from = reinterpret_cast<const std::byte*>(der);
  std::vector<std::byte> text(from, from + bytes);
  OPENSSL_free(der);
  return text;
}

}  // namespace

Result<KeyRequest> make_key_request() {
  init_crypto();
  Result<KeyPtr> key = make_key();
  if (!key.ok()) return key.status();
  Result<std::vector<std::byte>> request = request_for(key->get());
  if (!request.ok()) return request.status();
  Result<SecureBuffer> pem = key_to_pem(key->get());
  if (!pem.ok()) return pem.status();
  return KeyRequest{std::move(pem).value(), std::move(request).value()};
}

Result<KeyRequest> make_key_request(const IdentityFiles& files) {
  Result<std::vector<X509Ptr>> chain = read_certificates(files.certificate_path);
  if (!chain.ok()) return chain.status();
  Result<SecureBuffer> pem = read_file(files.key_path);
  if (!pem.ok()) return pem.status();
  Result<KeyPtr> key = key_of(chain.value()[0].get(), pem->bytes(), files.key_path);
  if (!key.ok()) return key.status();
  Result<std::vector<std::byte>> request = request_for(key->get());
  if (!request.ok()) return request.status();
  return KeyRequest{std::move(pem).value(), std::move(request).value()};
}

Result<KeyPtr> requested_key(std::span<const std::byte> request) {
  init_crypto();
  if (request.empty() || request.size() > limits::kKeyRequestBytesMax) {
    return refused("is longer than one for our kind of key");
  }
  const auto* at = reinterpret_cast<const unsigned char*>(request.data());
  const unsigned char* end = at + request.size();
  RequestPtr parsed(d2i_X509_REQ(nullptr, &at, static_cast<long>(request.size())));
  if (!parsed || at != end) return refused("is none (PKCS#10, DER)");
  KeyPtr key(X509_REQ_get_pubkey(parsed.get()));
  std::array<char, 64> group{};
  const bool is_ours =
      key && EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_EC &&
      EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), nullptr) == 1 &&
      std::string_view(group.data()) == "prime256v1";
  if (!is_ours) return refused("is for another kind of key than P-256");
  if (X509_REQ_verify(parsed.get(), key.get()) != 1) return refused("is not signed with its key");
  take_crypto_error();
  return key;
}

Status check_key_request(std::span<const std::byte> request) {
  return requested_key(request).status();
}

Result<std::array<std::byte, 32>> hash_of_requested_key(std::span<const std::byte> request) {
  Result<KeyPtr> key = requested_key(request);
  if (!key.ok()) return key.status();
  unsigned char* der = nullptr;
  const int bytes = i2d_PUBKEY(key->get(), &der);
  if (bytes <= 0) return library_failure("write a public key");
  const auto hash = sha256(std::as_bytes(std::span(der, static_cast<std::size_t>(bytes))));
  OPENSSL_free(der);
  return hash;
}

Result<std::array<std::byte, 32>> hash_of_certified_key(const std::string& certificate_path) {
  Result<std::vector<X509Ptr>> chain = read_certificates(certificate_path);
  if (!chain.ok()) return chain.status();
  return hash_of_key(chain.value()[0].get());
}

}  // namespace farcall::security
