// AuthorityService: a pool's issuing authority, asked over the network (authority_message.h).
//
//   Result<AuthorityService> service = AuthorityService::open({.folder = "ca"});
//   Result<TlsContext> tls = service->context();            // its own certificate, renewed in time
//   … TlsChannel::accept(socket, tls) …
//   AuthorityReply reply = service->answer({&channel.peer(), "10.0.0.7:51234"}, request, now);
//
// A member that shows a good certificate gets its successor: the same name, zone, role, purpose and
// names, for the key it asks for, and a life of at most `life_seconds`. Refused: what the index
// does not know or has revoked, what has expired, another's name. A server without a certificate
// joins with a one-time token. Servers may have to bring a quote of their TPM (attestation.h).
// Everything is recorded, refusals up to a number a minute.
// Owner: whoever listens.  Threads: any; CaFolder's lock orders what changes the folder.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "security/ask_limit.h"
#include "security/attestation.h"
#include "security/authority_message.h"
#include "security/ca_folder.h"
#include "security/tls.h"

namespace farcall::security {

class AuthorityService {
 public:
  struct Settings {
    std::string folder;
    std::int64_t life_seconds = std::int64_t{kLeafDays} * 86'400;  // of leaves, at most
    std::vector<std::string> names{};  // DNS names and addresses it is dialled by
    std::shared_ptr<KeyStore> keys{};  // for an issuing key that lies in no file
    // Its attested_path is the folder's; without a golden_path golden.toml there is taken.
    Attestation::Settings attestation{};
  };
  struct Asker {
    const PeerIdentity* who = nullptr;  // borrowed; null: one without a certificate
    std::string from;                   // "10.0.0.7:51234"
    Sha256 nonce{};                     // quote_nonce of the connection
  };
  // Errors: those of CaFolder::open, kUnsupported (life), kNotFound (the issuing key is not here),
  // those of the key store.
  static Result<AuthorityService> open(Settings settings);

  // What it accepts connections with: service.crt and service.key in the folder, which it issues to
  // itself, for a week whatever leaves live for, for members as well as for those who have only the
  // root's hash. Call it now and then, at least each kOwnLookSeconds: past half of its life there
  // is another.
  Result<TlsContext> context() const;
  static constexpr std::int64_t kOwnLookSeconds = 60;

  // now: Unix seconds
  AuthorityReply answer(const Asker& asker, std::span<const std::byte> request, std::int64_t now);
  // A connection that came to no question.
  void refused(const std::string& from, const Status& why, std::int64_t now);

  // Until when the issuing authority lives: leaves end with it. Unix seconds.
  Result<std::int64_t> issuing_until() const;

 private:
  AuthorityService(Settings settings, CaFolder folder);
  Result<IssuedIdentity> grant(const Asker& asker, const AuthorityRequest& request,
                               std::int64_t now);
  Result<IssuedIdentity> renewal(const Asker& asker, const AuthorityRequest& request,
                                 std::int64_t now);
  // Of a server; seconds_max is at most what leaves live.
  Result<Attested> attest(const Asker& asker, const std::string& host,
                          const AuthorityRequest& request, std::int64_t now) const;
  void note(const Asker& asker, const char* asked, const Status& why, std::int64_t now);

  Settings settings_;
  CaFolder folder_;
  Attestation attestation_;
  // Behind pointers, so that a service can be moved to where it is used.
  std::unique_ptr<AskLimit> asks_;
  std::unique_ptr<AskLimit> records_;
};

}  // namespace farcall::security
