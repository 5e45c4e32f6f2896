// What ca, identity and tls share about certificates; the one security header that knows OpenSSL's
// types, so only .cpp files of this folder include it.
//
//   Result<X509Ptr> certificate = parse_certificate(pem, path);
//   Result<PeerIdentity> who = identity_of(certificate.value().get());
//
// Threads: any; none of it keeps state.
#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "security/file.h"
#include "security/identity.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

template <auto kFree>
struct FreeWith {
  template <class T>
  void operator()(T* held) const {
    kFree(held);
  }
};
using X509Ptr = std::unique_ptr<X509, FreeWith<&X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<&EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<&BIO_free_all>>;
using CrlPtr = std::unique_ptr<X509_CRL, FreeWith<&X509_CRL_free>>;
using StorePtr = std::unique_ptr<X509_STORE, FreeWith<&X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<&X509_STORE_CTX_free>>;

// "doing: what OpenSSL says", kSystem.
Status library_failure(const char* doing);

Result<X509Ptr> parse_certificate(std::span<const std::byte> pem, const std::string& name);
Result<KeyPtr> parse_key(std::span<const std::byte> pem, const std::string& name);
// The key of `certificate` among the first kKeysMax of a text: while a pair is replaced
// (member_files.h), two stand there.  Errors: kDenied, as parse_key and when none fits.
inline constexpr int kKeysMax = 4;
Result<KeyPtr> key_of(X509* certificate, std::span<const std::byte> pem, const std::string& name);
// Every certificate of a PEM file, in order; at least one, at most 16.
Result<std::vector<X509Ptr>> read_certificates(const std::string& path);
// Those of a text, in order; none is fine, of more than 16 the first 16 are taken.
std::vector<X509Ptr> certificates_in(std::span<const std::byte> pem);

// The revocation lists of a text, 1 … count_max.  Errors: kDenied, also when one of them does not
// parse.
Result<std::vector<CrlPtr>> revocation_lists_in(std::span<const std::byte> pem,
                                                std::size_t count_max);

// A store of trusted authorities from a PEM file.
// Errors: those of read_certificates, and kDenied for a certificate that is no authority's.
Result<StorePtr> load_authorities(const std::string& path);

// The identity in the certificate's one URI name.  Errors: kDenied.
Result<PeerIdentity> identity_of(X509* certificate);
// The DNS names and addresses the certificate carries, "gpu1.lab, 10.0.0.7"; at most eight of them.
// For people to read: a name may come from a stranger, so what is not printable becomes '?'.
std::string names_of(X509* certificate);
// Does the certificate carry an extended key usage that allows it? One without the extension is
// good for nothing here.
bool allows(X509* certificate, IdentityKind kind);
std::int64_t unix_seconds(const ASN1_TIME* time);
// Hexadecimal.
std::string number_text(const ASN1_INTEGER* number);
std::string key_id_text(const ASN1_OCTET_STRING* key_id);  // empty for none
// SHA-256 of the certificate's SubjectPublicKeyInfo, which a certificate renewed with its key
// keeps.  Errors: kSystem.
Result<std::array<std::byte, 32>> hash_of_key(X509* certificate);

// Why verification said no, with what to do.
//   not_after  of the certificate, Unix seconds
//   whose      "the server's certificate"
std::string explain_verification(int error, std::int64_t not_after, const std::string& whose);
// Is it the verification error of a certificate that does not carry the dialled name?
bool is_other_name(int error);
//   dialled  what it should carry
//   carried  names_of() the certificate
std::string explain_other_name(const std::string& whose, const std::string& dialled,
                               const std::string& carried);

}  // namespace farcall::security
