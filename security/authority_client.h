// Asking the authority's service, over a TLS channel that is up.
//
//   Result<RenewalAsk> ask = make_renewal(files, false);
//   Result<AuthorityReply> reply = ask_authority(channel, ask->request, deadline);
//   Status done = take_renewal(files, ask.value(), reply.value());     // the files are replaced
//
// What comes back is looked at like a stranger's: name, key and chain must be what was asked for.
// Threads: any; one at a time per set of files.
#pragma once
#include <string>

#include "security/authority_message.h"
#include "security/identity.h"
#include "security/join_token.h"
#include "security/quote.h"
#include "security/tls_channel.h"
#include "transport/base/clock.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::security {

// One question, one answer. Errors: those of TlsChannel, kMalformed, kDenied where the other end is
// no authority's service, those of the attester. A refusal is no error of this: see AuthorityReply.
//   attester  makes the quote for this connection and the key asked for; empty: none is sent
Result<AuthorityReply> ask_authority(TlsChannel& channel, AuthorityRequest request,
                                     Deadline deadline, const Attester& attester = {});
// The service's side of it.
Result<std::vector<std::byte>> receive_request(TlsChannel& channel, Deadline deadline);
// What a quote that comes over this connection must be for: the same at both ends, and at no other
// connection's.  Errors: kSystem.
Result<Sha256> quote_nonce(TlsChannel& channel);

struct RenewalAsk {
  AuthorityRequest request;
  SecureBuffer key_pem;
  std::string name;  // identity URI
};
// For the certificate that is there. keep_key: for its key, else for a new one.
// Errors: those of describe_certificate and make_key_request.
Result<RenewalAsk> make_renewal(const IdentityFiles& files, bool keep_key);
// Errors: the refusal, those of check_pair and replace_pair.
Status take_renewal(const IdentityFiles& files, const RenewalAsk& ask, const AuthorityReply& reply);

// A new server's: `folder` gets NAME.crt, NAME.key and ca.crt, none of which may be there.
// Returns the path of the certificate.  Errors: the refusal, those of check_pair, kDenied, kSystem.
Result<std::string> take_joining(const std::string& folder, const JoinTokenText& token,
                                 const SecureBuffer& key_pem, const AuthorityReply& reply);

}  // namespace farcall::security
