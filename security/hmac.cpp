#include "security/hmac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "security/crypto.h"

namespace farcall::security {

void Hmac::Free::operator()(evp_mac_ctx_st* context) const { EVP_MAC_CTX_free(context); }

Result<Hmac> Hmac::make(std::span<const std::byte> key) {
  init_crypto();
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr),
                                                        &EVP_MAC_free);
  Context context(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  if (!context || EVP_MAC_init(context.get(), reinterpret_cast<const unsigned char*>(key.data()),
                               key.size(), params) != 1) {
    return Status(Code::kSystem, "HMAC: " + take_crypto_error());
  }
  return Hmac(std::move(context));
}

void Hmac::add(std::span<const std::byte> text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  if (!text.empty() && EVP_MAC_update(context_.get(), at, text.size()) != 1) failed_ = true;
}

Status Hmac::finish(std::span<std::byte, kBytes> out) {
  std::size_t bytes = 0;
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  if (failed_ || EVP_MAC_final(context_.get(), to, &bytes, out.size()) != 1 || bytes != kBytes) {
    return {Code::kSystem, "HMAC: " + take_crypto_error()};
  }
  return ok();
}

}  // namespace farcall::security
