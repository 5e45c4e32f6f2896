// Links between servers: what one supervisor says to another, and worker and supervisor about it.
//
//   the sender's worker:      send_peer_request(socket, {1, "gpu2", session, ticket});
//   its supervisor:           Result<Handover> link = dial_peer(place, tls, hello, deadline);
//   the receiver's:           accept_tls() → ControlConnection::peer_hello()
//
// Mutual TLS with server certificates, then one PeerHello, answered by a ServerHello as a client's
// is; lanes and records are those of every session (transport/README.md), the sender in the
// client's place. Both ends must have the other on their list: a certificate alone opens nothing.
// Which session a link leads to is proven by a ticket that this session's worker gave out.
// Threads: one.  Parsers take hostile bytes.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "security/tls.h"
#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/ticket.h"
#include "transport/link/acceptor.h"
#include "transport/link/handover.h"

namespace farcall::link {

// A server that this one may talk to.
struct PeerPlace {
  std::string name;  // the host in its certificate's identity
  std::string host;  // where it listens; its certificate must carry this, too
  std::uint16_t port = 0;
};
// "name@host:port", or "host:port" where both are the same.
// Errors: kUnsupported with what is wrong.
Result<PeerPlace> parse_peer(const std::string& text);

Result<std::size_t> encode(const PeerHello& hello, std::span<std::byte> room);
Result<PeerHello> parse_peer_hello(std::span<const std::byte> bytes);

// Opens the lanes of a link to a session of `place`. The handover has no use but for a worker.
//   tls    Side::kPeer
//   who    whom the certificate there names; may be null; filled in on success
// Errors: kDenied (certificates, a name that is not the one on the list, refusal), kTimeout,
// kClosed, kSystem, kMalformed.
Result<Handover> dial_peer(const PeerPlace& place, const security::TlsContext& tls,
                           const PeerHello& hello, Deadline deadline,
                           security::PeerIdentity* who = nullptr);

// What a worker asks of its supervisor: a link. Answered by a Handover of kPeerReached or
// kPeerRefused with the same number.
struct PeerRequest {
  std::uint32_t number = 0;
  std::string receiver;  // its name, at most kPeerNameBytesMax
  SessionId session;     // there
  Ticket ticket{};
};
// Errors: kClosed, kSystem, kOverQuota for a long name.
Status send_peer_request(int socket, const PeerRequest& request);
// Errors: kClosed, kTimeout, kMalformed, kSystem.
Result<PeerRequest> receive_peer_request(int socket, Deadline deadline);

}  // namespace farcall::link
