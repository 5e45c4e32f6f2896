// The pool's certificate authority: a key in a file, and certificates that live for days.
//
//   Result<IssuedIdentity> ca = create_ca({.pool = "lab"});
//   Result<IssuedIdentity> ann = issue(ca.value(), {.use = Use::kClient, .tenant = "acme",
//                                                   .user = "ann"});
//   FARCALL_TRY(save(ann.value(), "ann.crt", "ann.key"));
//
// P-256 throughout. A leaf carries one URI name (identity.h) and one purpose: a server's
// certificate never works as a client's. Keys live in SecureBuffers.  Threads: any.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

inline constexpr int kLeafDays = 7;
inline constexpr int kLeafDaysMax = 30;
inline constexpr int kCaDays = 3650;

struct IssuedIdentity {
  std::string certificate_pem;
  SecureBuffer key_pem;
};

struct CaOptions {
  std::string pool;  // an identity word
  int days = kCaDays;
};
// Errors: kUnsupported (bad pool name, bad days), kSystem (the library or the kernel refused).
Result<IssuedIdentity> create_ca(const CaOptions& options);

enum class Use { kClient, kServer };
struct LeafOptions {
  Use use = Use::kClient;
  std::string tenant;              // clients
  std::string user;                // clients
  std::string host;                // servers: the identity word in the URI
  std::vector<std::string> names;  // servers: DNS names and IP addresses clients dial
  int days = kLeafDays;            // 1 … kLeafDaysMax
  std::int64_t valid_from = 0;     // Unix seconds; 0: a minute ago, for clocks that differ
};
// The pool's name comes from the CA certificate.
// Errors: kUnsupported with the option that is wrong, kDenied when `ca` is no CA, kSystem.
Result<IssuedIdentity> issue(const IssuedIdentity& ca, const LeafOptions& options);

// Writes both files; the key readable by its owner only. Refuses to replace an existing key.
// Errors: kDenied when a file exists, kSystem.
Status save(const IssuedIdentity& identity, const std::string& certificate_path,
            const std::string& key_path);
Result<IssuedIdentity> load(const std::string& certificate_path, const std::string& key_path);

}  // namespace farcall::security
