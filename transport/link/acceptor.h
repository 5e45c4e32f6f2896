// The supervisor's half of the handshake, as pieces: who connected, may they, give them a session.
//
//   Result<ConnectionKind> kind = connection_kind(socket, deadline);
//   kTls:  auto control = accept_tls(std::move(socket), tls, {fingerprint, "0.1.0"}, deadline);
//          Result<SessionKeys> keys = control.value()->grant(id);
//   kLane: Result<LaneHello> lane = read_lane_hello(socket, deadline);  // then hand the socket on
//
// Threads: one per connection; a TlsContext may serve all.  These block until their deadline, so a
// supervisor runs them on a thread per connection, at most
// limits::kUnauthenticatedConnectionsMax of them.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "security/identity.h"
#include "security/tls.h"
#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/hello.h"
#include "transport/link/keys.h"

namespace farcall::link {

// host: address or name; port 0: the kernel chooses. Errors: kNotFound, kSystem.
Result<Fd> listen_tcp(const std::string& host, std::uint16_t port);
// An abstract Unix socket: "@name", gone with its process, seen only in this network namespace.
Result<Fd> listen_abstract(const std::string& name);
std::uint16_t bound_port(const Fd& socket);  // 0 on error
// Accepts one connection with our socket options set. Errors: kTimeout when none is waiting and
// the listener does not block, kSystem.
Result<Fd> accept_tcp(const Fd& listener);
// "10.0.0.7:51234", for logs.
std::string peer_address(const Fd& socket);

enum class ConnectionKind { kTls, kLane };
// Looks at the first byte without taking it: 0x16 is TLS, 'F' a lane.
// Errors: kMalformed for any other byte, kTimeout, kClosed.
Result<ConnectionKind> connection_kind(const Fd& socket, Deadline deadline);

// What this server is, for the hello.
struct LocalHello {
  std::uint64_t table_fingerprint = 0;
  std::string version;  // ≤ kVersionBytesMax
};

class ControlConnection {
 public:
  ~ControlConnection();

  const security::PeerIdentity& peer() const { return peer_; }  // proven by its certificate
  // Of its certificate's public key: TlsChannel::peer_key().
  const std::array<std::byte, 32>& peer_key() const;
  const ClientHello& hello() const { return hello_; }  // what it said: not proven
  // Of a peer whose identity is a server's, which is no client and gets no session: peer.h.
  const PeerHello& peer_hello() const { return peer_hello_; }
  bool is_server() const { return peer_.kind == security::IdentityKind::kServer; }

  // Says no with cause and fix, and closes. After grant(): why the session ends.
  Status refuse(const Status& why);
  // Says yes, and where the lanes are; returns the session's keys, for send_session(). Call once.
  Result<SessionKeys> grant(const SessionId& id, const CarrierOffer& offer = {});

  int fd() const;  // readable when wait_event would have something to say
  // Blocks until the client ends. Errors: kClosed when it did, kTimeout, kMalformed when it sent
  // something: nothing may be sent after the hello. Never ok.
  Status wait_event(Deadline deadline);
  // Ends the connection and wakes wait_event.  Threads: any, while the object lives.
  void close();

 private:
  friend Result<std::unique_ptr<ControlConnection>> accept_tls(Fd, const security::TlsContext&,
                                                               const LocalHello&, Deadline);
  ControlConnection(std::unique_ptr<security::TlsChannel> channel, const LocalHello& local);
  Status answer(const ServerHello& hello);
  Status read_hello(Deadline deadline);
  std::unique_ptr<security::TlsChannel> channel_;
  LocalHello local_;
  security::PeerIdentity peer_;
  ClientHello hello_;
  PeerHello peer_hello_;
};

// Mutual TLS, then the client's hello, or another server's where `tls` lets servers in. A hello of
// another protocol version or another table is refused here, naming both values. Errors: kDenied
// (certificate, mismatch), kMalformed, kTimeout, kClosed.
Result<std::unique_ptr<ControlConnection>> accept_tls(Fd socket, const security::TlsContext& tls,
                                                      const LocalHello& local, Deadline deadline);

// Takes exactly kLaneHelloBytes from the socket; the records behind them stay for the worker.
Result<LaneHello> read_lane_hello(const Fd& socket, Deadline deadline);

}  // namespace farcall::link
