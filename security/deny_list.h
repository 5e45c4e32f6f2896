// DenyList: certificates that are refused although all else about them is good, because the
// authority that issued them has revoked them.
//
//   Result<std::shared_ptr<DenyList>> list = DenyList::open(path, ca_path);
//   TlsContext::load(files, side, list.value());           // handshakes look it up from now on
//   Status taken = list.value()->reload();                 // the file was replaced
//   if (auto denial = list.value()->find(peer)) …          // for sessions that are up already
//
// The file is one or more certificate revocation lists (RFC 5280), PEM, each signed by an authority
// of the pool; beside them stand the certificates of those authorities that are not in the CA file.
// What is denied is a certificate, by issuer and serial number, not a name: its holder gets a new
// one without anybody having to forget a rule. Serial numbers are random, 126 bits, never reused.
//
// Refused: a list that no authority of the CA file stands behind, without a number or a date, past
// its date, from the future, or with an extension that it says must be understood. On reload also
// one whose number went back, or that leaves out an authority whose former list is still good. Then
// the former list stays in force. Across restarts only the date guards against an old list that
// somebody puts back. Owner: shared by whoever makes connections.  Threads: any.  Never logs; the
// caller does.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "security/identity.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"

namespace farcall::security {

struct Denial {
  std::int64_t since = 0;  // Unix seconds
  std::string reason;      // "key compromise"; empty: none given
};
// "was revoked on 2026-11-22 03:10 UTC (key compromise): ask for a new one"
std::string explain_denial(const Denial& denial);

// What one authority denies.
struct DeniedByOne {
  std::uint64_t number = 0;      // grows with each list
  std::int64_t made = 0;         // Unix seconds
  std::int64_t good_until = 0;   // Unix seconds
  std::optional<Denial> itself;  // the authority's own certificate was revoked by another
  std::map<std::string, Denial> serials;
};
using DeniedByIssuer = std::map<std::string, DeniedByOne>;  // by key identifier

// Reads a file's text. now: Unix seconds.  Errors: kDenied with what is wrong, kOverQuota.
//   authorities_pem  the pool's CA file
Result<DeniedByIssuer> parse_deny_list(std::span<const std::byte> pem,
                                       std::span<const std::byte> authorities_pem,
                                       std::int64_t now);
// Is this certificate, or the authority that issued it, among them? One that does not state its
// issuer's key identifier is looked for with every issuer.
std::optional<Denial> find_denial(const DeniedByIssuer& lists, const PeerIdentity& who);

class DenyList {
 public:
  // Errors, with the path: kNotFound, kDenied, kOverQuota, kSystem.
  static Result<std::shared_ptr<DenyList>> open(const std::string& path,
                                                const std::string& ca_path);
  // Reads both files again. Errors: as open; then nothing has changed.
  Status reload();

  std::optional<Denial> find(const PeerIdentity& who) const;

  struct Facts {
    std::uint64_t number = 0;     // the highest
    std::int64_t good_until = 0;  // Unix seconds: the earliest
    std::size_t certificates = 0;
  };
  Facts facts() const;
  const std::string& path() const { return path_; }

 private:
  DenyList(std::string path, std::string ca_path);
  Result<DeniedByIssuer> read() const;
  const std::string path_;
  const std::string ca_path_;
  mutable Guarded<std::shared_ptr<const DeniedByIssuer>> lists_;
};

}  // namespace farcall::security
