#include "security/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <sys/random.h>

#include <cerrno>
#include <memory>

#include "transport/base/check.h"

namespace farcall::security {

void init_crypto() {
  static const bool started = [] {
    constexpr std::uint64_t kHow = OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG |
                                   OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS;
    return OPENSSL_init_ssl(kHow, nullptr) == 1;
  }();
  FARCALL_CHECK(started);
}

std::string take_crypto_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  const char* library = ERR_lib_error_string(code);
  std::string text = reason ? reason : "unknown reason";
  if (library) text += std::string(" (") + library + ")";
  return text;
}

Status hkdf_expand(std::span<const std::byte> secret, std::string_view info,
                   std::span<std::byte> out) {
  init_crypto();
  std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr),
                                                        &EVP_KDF_free);
  std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                    &EVP_KDF_CTX_free);
  if (!context) return {Code::kSystem, "HKDF: " + take_crypto_error()};
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  char digest[] = "SHA256";
  // OSSL_PARAM wants non-const pointers although it only reads through them.
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::byte*>(secret.data()),
                                        secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(info.data()),
                                        info.size()),
      OSSL_PARAM_construct_end(),
  };
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  if (EVP_KDF_derive(context.get(), to, out.size(), params) != 1) {
    return {Code::kSystem, "HKDF: " + take_crypto_error()};
  }
  return ok();
}

void fill_random(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    FARCALL_CHECK(got > 0, got);
    if (got <= 0) __builtin_trap();  // going on without randomness is worse than ending
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::string to_hex(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace farcall::security
