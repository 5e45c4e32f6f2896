// What the files of the certificate authority share: how something is signed and written as PEM.
// Knows OpenSSL's types, so only ca*.cpp include it.
//
//   Result<Authority> authority = Authority::read(issued);
//   Result<X509Ptr> leaf = sign(plan, key, authority.value().certificate.get(), …key.get());
//
// Threads: any; none of it keeps state.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "security/ca.h"
#include "security/tls.h"
#include "security/x509.h"

namespace farcall::security {

inline constexpr std::int64_t kDaySeconds = 86'400;
// Certificates are valid from a minute ago, for clocks that differ.
inline constexpr std::int64_t kEarlierSeconds = 60;

// A key that is not in this process's memory: what OpenSSL signs with it, somebody else does.
class HeldKey {
 public:
  virtual ~HeldKey() = default;
  // Good for signing while this lives; borrowed.
  virtual EVP_PKEY* get() const = 0;
  // Why it last did not sign, which OpenSSL cannot tell; ok where it did.
  virtual Status failure() const = 0;
};

// An authority with its key, of which both are sound and belong together.
struct Authority {
  X509Ptr certificate;
  KeyPtr key;
  std::shared_ptr<HeldKey> held;  // behind `key`, or none
  PeerIdentity who;
  bool is_root = false;  // signed by itself

  // Errors: kDenied (no authority of a pool, other key, expired).
  static Result<Authority> read(const IssuedIdentity& files);
  // After a signature that was not made: "doing: why".
  Status signing_failure(const char* doing) const;
};

struct Extension {
  int nid;
  std::string value;  // as X509V3_EXT_conf takes it
};

// What a certificate is to say.
struct Plan {
  std::string common_name;
  std::int64_t from = 0;   // Unix seconds
  std::int64_t until = 0;  // Unix seconds
  std::vector<Extension> extensions;
  std::vector<const X509_EXTENSION*> copied{};  // of another certificate, as they are; borrowed
};

Result<KeyPtr> make_key();
// Another pointer to the same key, which is still for `held` to keep alive.
KeyPtr key_of_held(const HeldKey& held);
// The public key of a signing request (key_request.h) from a stranger, whose owner signed it.
// Errors: kDenied (not one, of another kind of key, not signed by it).
Result<KeyPtr> requested_key(std::span<const std::byte> request);
// Signs `plan` for `key`; by itself where there is no authority.  Errors: kSystem.
//   held  behind `key` where that is to sign for itself, or null
Result<X509Ptr> sign(const Plan& plan, EVP_PKEY* key, const Authority* authority,
                     const HeldKey* held = nullptr);

// Whom the first certificate of a PEM text names.  Errors: kDenied.
Result<PeerIdentity> who_in(const std::string& pem);
Result<CertificateHash> hash_of_certificate(const std::string& pem);
Result<std::string> certificate_to_pem(X509* certificate);
Result<SecureBuffer> key_to_pem(EVP_PKEY* key);
// Both; behind the certificate stand the PEM certificates of `chain`.  Errors: kSystem.
Result<IssuedIdentity> to_pem(X509* certificate, EVP_PKEY* key, const std::string& chain = "");

}  // namespace farcall::security
