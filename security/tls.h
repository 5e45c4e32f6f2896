// TlsContext: one identity made ready for TLS 1.3, mutual, nothing else.
//
//   Result<TlsContext> tls = TlsContext::load({cert, key, ca}, TlsContext::Side::kServer);
//
// TLS 1.3 only; both sides show a certificate of the pool's CA with the right extended key usage;
// no tickets, no resumption, no 0-RTT, no renegotiation, no compression.
// Owner: the caller, for as long as connections are made.  Threads: any, once loaded.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "security/deny_list.h"
#include "security/identity.h"
#include "transport/base/status.h"

struct ssl_ctx_st;

namespace farcall::security {

// What is kept of a certificate that may be refused, for the error text: afterwards it is out of
// reach.
struct SeenCertificate {
  std::int64_t not_after = 0;  // Unix seconds
  std::string names;   // as names_of() lists them; filled in when the dialled one is missing
  std::string denial;  // as explain_denial() says it; filled in when it was revoked
};

// What is asked of a peer beyond a good certificate of the pool.
struct PeerPolicy {
  std::shared_ptr<const DenyList> deny_list;  // looked up at each handshake; null: nobody is denied
  std::vector<std::string> client_zones;  // one of these a client must state; empty: any or none
};

// SHA-256 of a certificate, which PeerIdentity::fingerprint has in hexadecimal.
using CertificateHash = std::array<std::byte, 32>;
// Stated by the certificate of the authority's service, and by no other.
inline constexpr const char* kAuthorityRole = "authority";

struct PeerRules;  // tls.cpp

class TlsContext {
 public:
  // kServerOfPeers: a server that lets other servers in as well; who came, TlsChannel::peer()
  // tells. kPeer: a server that dials another, with the same certificate it serves with.
  // kAuthority: as kServerOfPeers, and who has no certificate yet is let in, too, as nobody
  // (TlsChannel::has_peer()). kJoiner: who that is; see for_joining().
  enum class Side { kClient, kServer, kServerOfPeers, kPeer, kAuthority, kJoiner };

  // Errors, with path, cause and fix: kNotFound (no file), kDenied (not PEM, key does not fit the
  // certificate, expired, revoked, not issued by this CA, wrong purpose for this side). Without a
  // deny list in the policy, that of the files is opened, if they name one.
  static Result<TlsContext> load(const IdentityFiles& files, Side side, PeerPolicy policy = {});

  // Of one who has no certificate, and of the pool only the hash of its root's certificate, which
  // the authority's service shows. That must be a server's that states kAuthorityRole.
  // Errors: kSystem.
  static Result<TlsContext> for_joining(const CertificateHash& root);

  TlsContext(TlsContext&&) noexcept;
  TlsContext& operator=(TlsContext&&) noexcept;
  ~TlsContext();

  Side side() const { return side_; }
  bool accepts() const { return accepts_by(side_); }
  const PeerIdentity& own() const { return own_; }
  ssl_ctx_st* native() const { return context_; }  // for tls_channel.cpp

 private:
  static bool accepts_by(Side side) {
    return side == Side::kServer || side == Side::kServerOfPeers || side == Side::kAuthority;
  }
  TlsContext(ssl_ctx_st* context, std::unique_ptr<const PeerRules> rules, PeerIdentity own);
  ssl_ctx_st* context_ = nullptr;
  Side side_ = Side::kClient;
  std::unique_ptr<const PeerRules> rules_;  // of which OpenSSL has the address
  PeerIdentity own_;
};

}  // namespace farcall::security
