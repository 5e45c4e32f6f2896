// Identity: who a certificate says its holder is.
//
//   Result<PeerIdentity> who = parse_identity_uri("spiffe://lab/tenant/acme/user/ann");
//   who.value().tenant == "acme"
//
// A certificate of this pool carries exactly one URI name:
//   spiffe://<pool>/tenant/<tenant>/user/<user>   a client
//   spiffe://<pool>/server/<host>                 a server
//   spiffe://<pool>                               an authority of the pool
// Behind a client's or a server's may stand /zone/<zone>, then /role/<role>: path segments, and not
// further names, so that there is exactly one name to agree on (SPIFFE allows one as well).
// Each <…> is 1 … 64 of [A-Za-z0-9._-].  Threads: plain values.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::security {

enum class IdentityKind : std::uint8_t { kClient, kServer, kAuthority };

struct PeerIdentity {
  IdentityKind kind = IdentityKind::kClient;
  std::string pool;
  std::string tenant;          // clients
  std::string user;            // clients
  std::string host;            // servers
  std::string zone;            // empty: none stated
  std::string role;            // empty: none stated
  std::int64_t not_after = 0;  // Unix seconds

  // Of the certificate that says so, in hexadecimal; empty where there is none.
  std::string serial;
  std::string issuer;       // key identifier of the authority that signed it; empty: not stated
  std::string fingerprint;  // SHA-256
};

// Errors: kDenied with what is wrong.
Result<PeerIdentity> parse_identity_uri(std::string_view uri);
std::string identity_uri(const PeerIdentity& who);
// True for a word that may stand in an identity.
bool is_identity_word(std::string_view word);

// Where an identity lies: PEM files.
struct IdentityFiles {
  std::string certificate_path;
  std::string key_path;
  std::string ca_path;
  std::string deny_list_path{};  // deny_list.h; empty: none is looked at
};

// What a PEM certificate says: identity, purpose, validity; for `farcall ca show` and for logs.
struct CertificateFacts {
  PeerIdentity who;
  std::string subject;
  std::string issuer;
  std::int64_t not_before = 0;  // Unix seconds
  std::int64_t not_after = 0;
  bool for_server = false;  // extended key usage
  bool for_client = false;
  std::string key_id;  // its subject key identifier, hexadecimal; empty: not stated
};
Result<CertificateFacts> describe_certificate(const std::string& certificate_path);
std::string date_text(std::int64_t unix_seconds);  // "2026-11-27 14:05 UTC"

}  // namespace farcall::security
