// The pool's certificate authorities: keys in files, and certificates that live for days.
//
//   Result<IssuedIdentity> root = create_ca({.pool = "lab"});
//   Result<IssuedIdentity> issuing = create_issuing(root.value());
//   Result<IssuedIdentity> ann = issue(issuing.value(), {.use = Use::kClient, .tenant = "acme",
//                                                        .user = "ann"});
//   FARCALL_TRY(save(ann.value(), "ann.crt", "ann.key"));
//
// The root is what every host of the pool is told to trust; its key may lie in a safe, because day
// by day the issuing authority signs. A root may issue leaves itself, as small pools like it.
// Their keys are in files, or in tokens (key_store.h), which sign and never show them.
// P-256 throughout. A leaf carries one URI name (identity.h) and one purpose: a server's
// certificate never works as a client's. Keys live in SecureBuffers.  Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "security/key_store.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

inline constexpr int kLeafDays = 7;
inline constexpr int kLeafDaysMax = 30;
// A life so short that a renewal has no time to be tried again.
inline constexpr std::int64_t kLeafSecondsMin = 10;
inline constexpr int kCaDays = 3650;
inline constexpr int kIssuingDays = 365;

struct IssuedIdentity {
  std::string certificate_pem;  // a leaf's: behind it its issuing authority's
  SecureBuffer key_pem;
  std::shared_ptr<HeldKey> held{};  // an authority's key in a token, instead of key_pem
};

struct CaOptions {
  std::string pool;  // an identity word
  int days = kCaDays;
  std::shared_ptr<HeldKey> key{};  // to take; none: a new one
};
// Errors: kUnsupported (bad pool name, bad days), kSystem (the library or the kernel refused).
Result<IssuedIdentity> create_ca(const CaOptions& options);

// An issuing authority below `root`; it lives no longer than that.
//   key  to take; none: a new one
// Errors: kDenied when `root` is none, kUnsupported (days), kSystem.
Result<IssuedIdentity> create_issuing(const IssuedIdentity& root, int days = kIssuingDays,
                                      std::shared_ptr<HeldKey> key = nullptr);

enum class Use { kClient, kServer };
struct LeafOptions {
  Use use = Use::kClient;
  std::string tenant;              // clients
  std::string user;                // clients
  std::string host;                // servers: the identity word in the URI
  std::string zone{};              // trust zone, an identity word; may be empty
  std::string role{};              // the same
  std::vector<std::string> names;  // servers: DNS names and IP addresses clients dial
  int days = kLeafDays;            // 1 … kLeafDaysMax
  std::int64_t seconds = 0;        // its life from now on instead of days; kLeafSecondsMin at least
  std::int64_t valid_from = 0;     // Unix seconds; 0: a minute ago, for clocks that differ
  // For the key of this signing request (key_request.h) and not for a new one; key_pem is empty.
  std::vector<std::byte> request{};
};
// Errors: kUnsupported with the option that is wrong.
Status check_leaf(const LeafOptions& options);
// The pool's name comes from the CA certificate; a leaf never outlives its authority.
// Errors: kUnsupported with the option that is wrong, kDenied when `ca` is no CA, kSystem.
Result<IssuedIdentity> issue(const IssuedIdentity& ca, const LeafOptions& options);

// The same identity, names and purpose again, with a life from now on: what was in the certificate
// when it was issued is taken over, and nothing else.
//   signers  authorities that may have issued it, PEM: one of their keys must have
//   new_key  else for the same key, of which only the public half is needed: key_pem is empty then
// Errors: kDenied (of none of the signers, no member's certificate, `ca` is no CA), kUnsupported
// (days), kSystem.
struct RenewOptions {
  std::string certificate_pem;
  std::vector<std::string> signers;
  int days = kLeafDays;
  std::int64_t seconds = 0;  // instead of days, as with LeafOptions
  bool new_key = false;
  std::vector<std::byte> request{};  // for the key of this signing request
};
Result<IssuedIdentity> renew(const IssuedIdentity& ca, const RenewOptions& options);

// Writes both files; the key readable by its owner only. Refuses to replace an existing key.
// Errors: kDenied when a file exists, kSystem.
Status save(const IssuedIdentity& identity, const std::string& certificate_path,
            const std::string& key_path);
Result<IssuedIdentity> load(const std::string& certificate_path, const std::string& key_path);

}  // namespace farcall::security
