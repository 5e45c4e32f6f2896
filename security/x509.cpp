#include "security/x509.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "security/crypto.h"

namespace farcall::security {
namespace {

constexpr std::size_t kCertificatesMax = 16;
constexpr std::size_t kNamesToldMax = 8;
constexpr int kNameBytesMax = 253;  // of a DNS name, RFC 1035

// Never asks anybody for a passphrase: there is no terminal to ask on.
int no_passphrase(char*, int, int, void*) { return -1; }

BioPtr memory(std::span<const std::byte> bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

// A DNS name or an address as people write it; empty for any other kind of name.
std::string text_of(const GENERAL_NAME& name) {
  if (name.type != GEN_DNS && name.type != GEN_IPADD) return "";
  const ASN1_STRING* held = name.type == GEN_DNS ? name.d.dNSName : name.d.iPAddress;
  const unsigned char* bytes = ASN1_STRING_get0_data(held);
  const int length = ASN1_STRING_length(held);
  if (name.type == GEN_IPADD) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (length != 4 && length != 16) return "";
    ::inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, text.data(), text.size());
    return text.data();
  }
  std::string text(reinterpret_cast<const char*>(bytes),
                   static_cast<std::size_t>(std::min(length, kNameBytesMax)));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x21 || c > 0x7e; }, '?');
  return text;
}

}  // namespace

Status library_failure(const char* doing) {
  return {Code::kSystem, std::string(doing) + ": " + take_crypto_error()};
}

Result<X509Ptr> parse_certificate(std::span<const std::byte> pem, const std::string& name) {
  init_crypto();
  BioPtr bio = memory(pem);
  X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, nullptr));
  if (!certificate) {
    return Status(Code::kDenied, name + " holds no PEM certificate: " + take_crypto_error());
  }
  return certificate;
}

Result<KeyPtr> parse_key(std::span<const std::byte> pem, const std::string& name) {
  init_crypto();
  BioPtr bio = memory(pem);
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr));
  if (!key) {
    return Status(Code::kDenied, name + " holds no unencrypted PEM key: " + take_crypto_error());
  }
  return key;
}

Result<KeyPtr> key_of(X509* certificate, std::span<const std::byte> pem, const std::string& name) {
  init_crypto();
  BioPtr bio = memory(pem);
  for (int read = 0; read < kKeysMax; ++read) {
    KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr));
    if (!key && read == 0) return parse_key(pem, name);  // which says what is wrong with it
    if (!key) break;
    if (X509_check_private_key(certificate, key.get()) == 1) {
      take_crypto_error();
      return key;
    }
  }
  take_crypto_error();
  return Status(Code::kDenied, name + " is not the key of its certificate");
}

Result<std::vector<X509Ptr>> read_certificates(const std::string& path) {
  Result<SecureBuffer> pem = read_file(path);
  if (!pem.ok()) return pem.status();
  Result<X509Ptr> first = parse_certificate(pem->bytes(), path);
  if (!first.ok()) return first.status();
  return certificates_in(pem->bytes());
}

std::vector<X509Ptr> certificates_in(std::span<const std::byte> pem) {
  init_crypto();
  std::vector<X509Ptr> all;
  BioPtr bio = memory(pem);
  while (all.size() < kCertificatesMax) {
    X509Ptr next(PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, nullptr));
    if (!next) break;
    all.push_back(std::move(next));
  }
  take_crypto_error();  // the end of the text is one, to OpenSSL
  return all;
}

Result<std::vector<CrlPtr>> revocation_lists_in(std::span<const std::byte> pem,
                                                std::size_t count_max) {
  init_crypto();
  constexpr std::string_view kBegin = "-----BEGIN X509 CRL-----";
  const std::string_view text(reinterpret_cast<const char*>(pem.data()), pem.size());
  std::size_t begun = 0;
  for (std::size_t at = text.find(kBegin); at != text.npos && begun <= count_max; ++begun) {
    at = text.find(kBegin, at + kBegin.size());
  }
  if (begun == 0 || begun > count_max) {
    return Status(Code::kDenied, std::string(begun == 0 ? "there is no revocation list"
                                                        : "there are too many revocation lists") +
                                     " (PEM, \"X509 CRL\") in it");
  }
  std::vector<CrlPtr> all;
  BioPtr bio = memory(pem);
  while (all.size() < begun) {
    CrlPtr next(PEM_read_bio_X509_CRL(bio.get(), nullptr, &no_passphrase, nullptr));
    if (!next) {
      return Status(Code::kDenied, "a revocation list in it is damaged: " + take_crypto_error());
    }
    all.push_back(std::move(next));
  }
  return all;
}

Result<StorePtr> load_authorities(const std::string& path) {
  Result<std::vector<X509Ptr>> authorities = read_certificates(path);
  if (!authorities.ok()) return authorities.status();
  StorePtr store(X509_STORE_new());
  for (const X509Ptr& authority : authorities.value()) {
    if (X509_check_ca(authority.get()) == 0) {
      return Status(Code::kDenied,
                    path + " holds a certificate that is no CA's; give the pool's CA file");
    }
    if (!store || X509_STORE_add_cert(store.get(), authority.get()) != 1) {
      return Status(Code::kDenied, path + ": " + take_crypto_error());
    }
  }
  return store;
}

Result<PeerIdentity> identity_of(X509* certificate) {
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string uri;
  int uris = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    ++uris;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
               static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  if (uris != 1) {
    return Status(Code::kDenied, "a certificate of a pool carries exactly one URI name, this one " +
                                     std::to_string(uris));
  }
  Result<PeerIdentity> who = parse_identity_uri(uri);
  if (!who.ok()) return who;
  who->serial = number_text(X509_get0_serialNumber(certificate));
  who->issuer = key_id_text(X509_get0_authority_key_id(certificate));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned bytes = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &bytes) != 1) {
    return Status(Code::kSystem, "hash a certificate: " + take_crypto_error());
  }
  who->fingerprint = to_hex(std::as_bytes(std::span(digest).first(bytes)));
  who->not_after = unix_seconds(X509_get0_notAfter(certificate));
  return who;
}

std::string names_of(X509* certificate) {
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string all;
  std::size_t told = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names) && told < kNamesToldMax; ++i) {
    const std::string name = text_of(*sk_GENERAL_NAME_value(names, i));
    if (name.empty()) continue;
    ++told;
    all += all.empty() ? name : ", " + name;
  }
  GENERAL_NAMES_free(names);
  return all;
}

bool allows(X509* certificate, IdentityKind kind) {
  const std::uint32_t usage = X509_get_extended_key_usage(certificate);
  if (usage == UINT32_MAX) return false;  // no such extension
  if (kind == IdentityKind::kServer) return (usage & XKU_SSL_SERVER) != 0;
  return kind == IdentityKind::kClient && (usage & XKU_SSL_CLIENT) != 0;
}

std::int64_t unix_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return ::timegm(&parts);
}

std::string number_text(const ASN1_INTEGER* number) {
  return to_hex(std::as_bytes(std::span(ASN1_STRING_get0_data(number),
                                        static_cast<std::size_t>(ASN1_STRING_length(number)))));
}

std::string key_id_text(const ASN1_OCTET_STRING* key_id) {
  if (key_id == nullptr) return "";
  return to_hex(std::as_bytes(std::span(ASN1_STRING_get0_data(key_id),
                                        static_cast<std::size_t>(ASN1_STRING_length(key_id)))));
}

Result<std::array<std::byte, 32>> hash_of_key(X509* certificate) {
  unsigned char* der = nullptr;
  const int bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  std::array<std::byte, 32> hash{};
  unsigned written = 0;
  const bool hashed = bytes > 0 && EVP_Digest(der, static_cast<std::size_t>(bytes),
                                              reinterpret_cast<unsigned char*>(hash.data()),
                                              &written, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  if (!hashed || written != hash.size()) {
    return Status(Code::kSystem, "hash a certificate's key: " + take_crypto_error());
  }
  return hash;
}

std::string date_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return text.data();
}

std::string explain_verification(int error, std::int64_t not_after, const std::string& whose) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return whose + " expired on " + date_text(not_after) + "; issue a new one with `farcall ca`";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return whose + " is not valid yet; compare the clocks of the two machines";
    case X509_V_ERR_INVALID_PURPOSE:
      return whose + " is of the wrong kind: a server needs a server certificate, a client a " +
             "client certificate";
    case X509_V_ERR_PERMITTED_VIOLATION:
      return whose + " is of no zone that is let in here; see --client-zones of farcall-server";
    case X509_V_ERR_APPLICATION_VERIFICATION:
      return whose + " names no member of this pool; issue it with `farcall ca`";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return whose +
             " was not issued by our CA; both machines must use certificates and the CA "
             "file of one pool";
    default: return whose + " was refused: " + X509_verify_cert_error_string(error);
  }
}

bool is_other_name(int error) {
  return error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH;
}

std::string explain_other_name(const std::string& whose, const std::string& dialled,
                               const std::string& carried) {
  const std::string missing =
      whose + " does not carry the name that was dialled, " + dialled + "; ";
  if (carried.empty()) return missing + "it carries none: issue it again with that name";
  return missing + "it carries " + carried +
         ": dial one of these, or expect one with --name (FARCALL_SERVER_NAME), or issue it again "
         "with the name dialled";
}

}  // namespace farcall::security
