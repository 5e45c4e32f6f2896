#include "security/authority_client.h"

#include <unistd.h>

#include <array>

#include "security/attestation.h"
#include "security/ca_parts.h"
#include "security/file.h"
#include "security/key_request.h"
#include "security/member_files.h"

namespace farcall::security {
namespace {

using Header = std::array<std::byte, kAuthorityHeaderBytes>;

// bytes_of_rest: how many follow a header.
template <class Rest>
Result<std::vector<std::byte>> receive_message(TlsChannel& channel, Rest bytes_of_rest,
                                               Deadline deadline) {
  Header header;
  if (Status got = channel.receive(header, deadline); !got.ok()) return got;
  Result<std::size_t> rest = bytes_of_rest(header);
  if (!rest.ok()) return rest.status();
  std::vector<std::byte> all(header.begin(), header.end());
  all.resize(header.size() + rest.value());
  Status got = channel.receive(std::span(all).subspan(header.size()), deadline);
  if (!got.ok()) return got;
  return all;
}

Result<std::vector<std::byte>> quote_for(TlsChannel& channel, const AuthorityRequest& request,
                                         const Attester& attester) {
  Result<Sha256> nonce = quote_nonce(channel);
  if (!nonce.ok()) return nonce.status();
  Result<Sha256> key = hash_of_requested_key(request.key_request);
  if (!key.ok()) return key.status();
  return attester({.nonce = nonce.value(), .tls_key = key.value()});
}

}  // namespace

Result<Sha256> quote_nonce(TlsChannel& channel) {
  Sha256 nonce{};
  FARCALL_TRY(channel.export_key(kQuoteNonceLabel, {}, nonce));
  return nonce;
}

Result<AuthorityReply> ask_authority(TlsChannel& channel, AuthorityRequest request,
                                     Deadline deadline, const Attester& attester) {
  if (channel.peer().role != kAuthorityRole) {
    return Status(Code::kDenied,
                  "there is a member of the pool, " + identity_uri(channel.peer()) +
                      ", and not the authority's service: 'farcall ca serve' says its port");
  }
  if (attester) {
    Result<std::vector<std::byte>> quote = quote_for(channel, request, attester);
    if (!quote.ok()) return quote.status();
    request.quote = std::move(quote).value();
  }
  Status sent = channel.send(encode(request), deadline);
  // Who was refused in the handshake finds out below why.
  if (!sent.ok() && sent.code() != Code::kClosed) return sent;
  Result<std::vector<std::byte>> reply = receive_message(channel, reply_bytes, deadline);
  if (!reply.ok()) return reply.status();
  return parse_reply(reply.value());
}

Result<std::vector<std::byte>> receive_request(TlsChannel& channel, Deadline deadline) {
  return receive_message(channel, request_bytes, deadline);
}

Result<RenewalAsk> make_renewal(const IdentityFiles& files, bool keep_key) {
  Result<SecureBuffer> text = read_file(files.certificate_path);
  if (!text.ok()) return text.status();
  Result<X509Ptr> certificate = parse_certificate(text->bytes(), files.certificate_path);
  if (!certificate.ok()) return certificate.status();
  Result<PeerIdentity> who = identity_of(certificate->get());
  if (!who.ok()) return who.status();
  Result<std::string> pem = certificate_to_pem(certificate->get());
  if (!pem.ok()) return pem.status();
  Result<KeyRequest> key = keep_key ? make_key_request(files) : make_key_request();
  if (!key.ok()) return key.status();
  RenewalAsk ask;
  ask.name = identity_uri(who.value());
  ask.request = {.kind = AuthorityAsk::kRenew,
                 .name = ask.name,
                 .certificate = std::move(pem).value(),
                 .key_request = std::move(key->request)};
  ask.key_pem = std::move(key->key_pem);
  return ask;
}

Status take_renewal(const IdentityFiles& files, const RenewalAsk& ask,
                    const AuthorityReply& reply) {
  if (!reply.refusal.ok()) return reply.refusal;
  Result<SecureBuffer> ca = read_file(files.ca_path);
  if (!ca.ok()) return ca.status();
  const std::string ca_pem(reinterpret_cast<const char*>(ca->data()), ca->size());
  FARCALL_TRY(check_pair(reply.chain_pem, ask.key_pem.bytes(), ca_pem, ask.name));
  return replace_pair(files, reply.chain_pem, ask.key_pem);
}

Result<std::string> take_joining(const std::string& folder, const JoinTokenText& token,
                                 const SecureBuffer& key_pem, const AuthorityReply& reply) {
  if (!reply.refusal.ok()) return reply.refusal;
  Result<CertificateHash> root = hash_of_certificate(reply.root_pem);
  if (!root.ok() || root.value() != token.root) {
    return Status(Code::kDenied, "what came back is not of the authority that made the token");
  }
  if (Status good = check_pair(reply.chain_pem, key_pem.bytes(), reply.root_pem, ""); !good.ok()) {
    return good;
  }
  Result<PeerIdentity> who = who_in(reply.chain_pem);
  if (!who.ok()) return who.status();
  const std::string base = folder + "/" + who->host;
  Status put = write_new_file(base + ".key", key_pem.bytes(), 0600);
  if (put.ok()) put = write_new_file(base + ".crt", bytes_of(reply.chain_pem), 0644);
  if (put.ok()) put = write_new_file(folder + "/ca.crt", bytes_of(reply.root_pem), 0644);
  if (!put.ok()) return put;
  return base + ".crt";
}

}  // namespace farcall::security
