// One-time tokens: a new server's way to its first certificate, without anybody copying keys.
//
//   Result<std::string> token = JoinTokens("ca/tokens").make(grant, root_fingerprint, now);
//   … a person carries it to the new server, which asks the authority's service with it …
//   Result<JoinGrant> grant = JoinTokens("ca/tokens").spend(token, now);
//
// A token says whom to trust (the root's fingerprint, so that the joiner knows the authority before
// it says the secret) and holds 32 random bytes; who its bearer becomes is in the authority's file,
// which has of each token a hash over all of it: one that was changed anywhere is unknown. It is
// marked as spent, on the disk, before the certificate is made: after a crash in between it is
// gone, and another must be made. A secret of its bearer until it is spent or has expired.
//   fcjoin1.BASE64URL( u8 1, 16 bytes id, 32 bytes secret, 32 bytes SHA-256 of the root's
//                      certificate, i64 expires (Unix seconds, little endian) )
// The file, for the authority's owner only, replaced as a whole; after "farcall-join-tokens 1":
//   ID HASH EXPIRES waiting|spent SECONDS identity-URI name,name,…
// Threads: one; CaFolder's lock keeps other processes out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "security/identity.h"
#include "security/tls.h"
#include "transport/base/status.h"

namespace farcall::security {

// What its bearer gets.
struct JoinGrant {
  PeerIdentity who;                // a server: pool, host, zone, role
  std::vector<std::string> names;  // DNS names and addresses that clients dial
  std::int64_t life_seconds = 0;   // of its certificate
  std::int64_t expires = 0;        // the token; Unix seconds
  std::string id;                  // of the token, hexadecimal: no secret, for lists and logs
};

// What can be read in a token without the authority.
struct JoinTokenText {
  CertificateHash root{};
  std::int64_t expires = 0;
  std::string id;
};
// Errors: kDenied.
Result<JoinTokenText> parse_join_token(std::string_view token);

struct JoinLine {
  JoinGrant grant;
  std::string hash;  // SHA-256 of the token's text, hexadecimal
  bool spent = false;
};
// Errors: kDenied with the line's number.
Result<std::vector<JoinLine>> parse_join_tokens(std::string_view text);
std::string join_tokens_text(const std::vector<JoinLine>& lines);

class JoinTokens {
 public:
  explicit JoinTokens(std::string path) : path_(std::move(path)) {}

  // Errors: kUnsupported (whom, names, life, expiry), kOverQuota (too many wait), kDenied, kSystem.
  Result<std::string> make(JoinGrant grant, const CertificateHash& root, std::int64_t now) const;
  // What it would grant; it stays as it is.  Errors: as spend.
  Result<JoinGrant> look(std::string_view token, std::int64_t now) const;
  // On the disk as spent when this returns ok.
  // Errors: kDenied (unknown or changed, spent, expired), kSystem.
  Result<JoinGrant> spend(std::string_view token, std::int64_t now) const;

 private:
  // A line of `lines`, unspent.
  static Result<JoinLine*> find(std::vector<JoinLine>& lines, std::string_view token,
                                std::int64_t now);
  Result<std::vector<JoinLine>> read() const;
  Status write(const std::vector<JoinLine>& lines) const;
  std::string path_;
};

}  // namespace farcall::security
