// TlsChannel: one TLS 1.3 connection over a socket, with deadlines and without SIGPIPE.
//
//   auto channel = TlsChannel::connect(std::move(socket), tls, "gpu1.example", deadline);
//   FARCALL_TRY(channel.value()->send(bytes, deadline));
//
// Carries the hello and then only its own life: no tenant byte crosses it.
// Owner: the caller.  Threads: one at a time.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "security/tls.h"
#include "transport/base/clock.h"
#include "transport/base/function_ref.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

struct ssl_st;

namespace farcall::security {

class TlsChannel {
 public:
  // server_name: DNS name or IP address that the server's certificate must carry.
  // Errors: kDenied with cause and fix, kTimeout, kClosed, kSystem.
  static Result<std::unique_ptr<TlsChannel>> connect(Fd socket, const TlsContext& tls,
                                                     const std::string& server_name,
                                                     Deadline deadline);
  static Result<std::unique_ptr<TlsChannel>> accept(Fd socket, const TlsContext& tls,
                                                    Deadline deadline);
  ~TlsChannel();
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;

  Status send(std::span<const std::byte> bytes, Deadline deadline);
  // Fills `room` whole. Errors: kClosed when the peer ended first. On a client the first receive is
  // where a server's rejection of its certificate shows, as kDenied.
  Status receive(std::span<std::byte> room, Deadline deadline);

  // RFC 8446 section 7.5: the same bytes at both ends, fresh for each connection.
  Status export_key(const std::string& label, std::span<const std::byte> context,
                    std::span<std::byte> out);

  const PeerIdentity& peer() const { return peer_; }
  bool has_peer() const { return !peer_.pool.empty(); }  // else one without a certificate
  // Of the public key that the peer proved to hold (hash_of_key); zero before the handshake.
  const std::array<std::byte, 32>& peer_key() const { return peer_key_; }
  std::string describe() const;  // "TLSv1.3, TLS_AES_256_GCM_SHA384"
  int fd() const { return socket_.get(); }

  // Tells the peer and ends the connection.
  void close();
  // For the child of a fork: closes the descriptor and says nothing.
  void abandon();

 private:
  explicit TlsChannel(Fd socket);
  Status handshake(const TlsContext& tls, const std::string& server_name, Deadline deadline);
  // Repeats an SSL_* call, moving bytes between it and the socket, until it is done or refused.
  Status run(FunctionRef<int()> step, Deadline deadline);
  Status refusal(int error);
  Status push(Deadline deadline);
  Status pull(Deadline deadline);

  Fd socket_;
  ssl_st* ssl_ = nullptr;
  PeerIdentity peer_;
  std::array<std::byte, 32> peer_key_{};
  std::string server_name_;  // a client's: what the peer's certificate must carry
  SeenCertificate seen_;     // the peer's certificate last looked at, for error texts
};

}  // namespace farcall::security
