#include "security/ca_parts.h"

#include <openssl/pem.h>

#include <array>
#include <cstring>
#include <ctime>

#include "security/crypto.h"
#include "transport/base/key_memory.h"

namespace farcall::security {
namespace {

using NumberPtr = std::unique_ptr<BIGNUM, FreeWith<&BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<&X509_EXTENSION_free>>;

Status set_serial(X509* certificate) {
  std::array<std::byte, 16> random{};
  fill_random(random);
  random[0] &= std::byte{0x7f};  // positive
  random[0] |= std::byte{0x40};  // and never short
  NumberPtr number(BN_bin2bn(reinterpret_cast<unsigned char*>(random.data()),
                             static_cast<int>(random.size()), nullptr));
  const bool set =
      number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
  return set ? ok() : library_failure("choose a serial number");
}

Status fill_in(X509* certificate, const Plan& plan, EVP_PKEY* key, X509* issuer) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto* name = reinterpret_cast<const unsigned char*>(plan.common_name.data());
  const bool filled =
      X509_set_version(certificate, X509_VERSION_3) == 1 &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name,
                                 static_cast<int>(plan.common_name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate), plan.from) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate), plan.until) != nullptr &&
      X509_set_pubkey(certificate, key) == 1;
  return filled ? ok() : library_failure("fill in a certificate");
}

std::string text_of(BIO* bio) {
  char* at = nullptr;
  const long bytes = BIO_get_mem_data(bio, &at);
  return std::string(at, static_cast<std::size_t>(bytes));
}

}  // namespace

Result<Authority> Authority::read(const IssuedIdentity& files) {
  init_crypto();
  Authority authority;
  Result<X509Ptr> certificate =
      parse_certificate(bytes_of(files.certificate_pem), "the CA certificate");
  if (!certificate.ok()) return certificate.status();
  Result<KeyPtr> key = files.held != nullptr ? key_of_held(*files.held)
                                             : parse_key(files.key_pem.bytes(), "the CA key");
  if (!key.ok()) return key.status();
  X509* held = certificate.value().get();
  Result<PeerIdentity> who = identity_of(held);
  if (!who.ok() || who->kind != IdentityKind::kAuthority || X509_check_ca(held) == 0 ||
      X509_check_private_key(held, key.value().get()) != 1) {
    take_crypto_error();
    return Status(Code::kDenied, "what was given is no pool's CA with its key");
  }
  if (who->not_after < std::time(nullptr)) {
    return Status(Code::kDenied, "the CA expired on " + date_text(who->not_after));
  }
  authority.is_root = X509_NAME_cmp(X509_get_subject_name(held), X509_get_issuer_name(held)) == 0;
  authority.certificate = std::move(certificate).value();
  authority.key = std::move(key).value();
  authority.held = files.held;
  authority.who = std::move(who).value();
  return authority;
}

namespace {

Status failure_of(const HeldKey* held, const char* doing) {
  if (held == nullptr || held->failure().ok()) return library_failure(doing);
  take_crypto_error();
  return {held->failure().code(), std::string(doing) + ": " + held->failure().text()};
}

}  // namespace

Status Authority::signing_failure(const char* doing) const { return failure_of(held.get(), doing); }

KeyPtr key_of_held(const HeldKey& held) {
  EVP_PKEY_up_ref(held.get());
  return KeyPtr(held.get());
}

Result<KeyPtr> make_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return library_failure("make a P-256 key");
  return key;
}

Result<X509Ptr> sign(const Plan& plan, EVP_PKEY* key, const Authority* authority,
                     const HeldKey* held) {
  X509Ptr certificate(X509_new());
  if (!certificate) return library_failure("make a certificate");
  X509* issuer = authority == nullptr ? nullptr : authority->certificate.get();
  if (Status done = set_serial(certificate.get()); !done.ok()) return done;
  if (Status done = fill_in(certificate.get(), plan, key, issuer); !done.ok()) return done;
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer ? issuer : certificate.get(), certificate.get(), nullptr, nullptr,
                 0);
  for (const Extension& extension : plan.extensions) {
    ExtensionPtr made(
        X509V3_EXT_conf_nid(nullptr, &context, extension.nid, extension.value.c_str()));
    if (!made || X509_add_ext(certificate.get(), made.get(), -1) != 1) {
      return library_failure("add to a certificate");
    }
  }
  for (const X509_EXTENSION* extension : plan.copied) {
    // OpenSSL copies it; that it does not say const is an oversight of that function.
    if (X509_add_ext(certificate.get(), const_cast<X509_EXTENSION*>(extension), -1) != 1) {
      return library_failure("add to a certificate");
    }
  }
  EVP_PKEY* by = authority == nullptr ? key : authority->key.get();
  if (X509_sign(certificate.get(), by, EVP_sha256()) == 0) {
    return failure_of(authority == nullptr ? held : authority->held.get(), "sign a certificate");
  }
  return certificate;
}

Result<PeerIdentity> who_in(const std::string& pem) {
  Result<X509Ptr> certificate = parse_certificate(bytes_of(pem), "a certificate");
  if (!certificate.ok()) return certificate.status();
  return identity_of(certificate->get());
}

Result<CertificateHash> hash_of_certificate(const std::string& pem) {
  Result<X509Ptr> certificate = parse_certificate(bytes_of(pem), "a certificate");
  if (!certificate.ok()) return certificate.status();
  CertificateHash hash{};
  unsigned bytes = 0;
  if (X509_digest(certificate->get(), EVP_sha256(), reinterpret_cast<unsigned char*>(hash.data()),
                  &bytes) != 1) {
    return library_failure("hash a certificate");
  }
  return hash;
}

Result<std::string> certificate_to_pem(X509* certificate) {
  BioPtr text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(text.get(), certificate) != 1) return library_failure("write PEM");
  return text_of(text.get());
}

Result<SecureBuffer> key_to_pem(EVP_PKEY* key) {
  BioPtr secret(BIO_new(BIO_s_mem()));  // OpenSSL wipes a memory BIO when it frees it
  if (PEM_write_bio_PKCS8PrivateKey(secret.get(), key, nullptr, nullptr, 0, nullptr, nullptr) !=
      1) {
    return library_failure("write PEM");
  }
  char* at = nullptr;
  const long bytes = BIO_get_mem_data(secret.get(), &at);
  Result<SecureBuffer> kept = make_key_buffer(static_cast<std::size_t>(bytes));
  if (kept.ok()) std::memcpy(kept->data(), at, kept->size());
  return kept;
}

Result<IssuedIdentity> to_pem(X509* certificate, EVP_PKEY* key, const std::string& chain) {
  Result<std::string> text = certificate_to_pem(certificate);
  if (!text.ok()) return text.status();
  Result<SecureBuffer> kept = key_to_pem(key);
  if (!kept.ok()) return kept.status();
  IssuedIdentity issued;
  issued.certificate_pem = text.value() + chain;
  issued.key_pem = std::move(kept).value();
  return issued;
}

}  // namespace farcall::security
