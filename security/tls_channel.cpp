// OpenSSL works on two memory BIOs; this file moves their bytes to and from the socket. So every
// wait has a deadline, and no write can raise SIGPIPE in a process that is not ours.
#include "security/tls_channel.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "security/crypto.h"
#include "security/x509.h"

namespace farcall::security {
namespace {

constexpr std::size_t kSocketPieceBytes = 16 * 1024;

bool is_address(const std::string& name) {
  std::array<unsigned char, 16> room{};
  return ::inet_pton(AF_INET, name.c_str(), room.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), room.data()) == 1;
}

Status wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, deadline.left_ms());
    if (ready > 0) return ok();
    if (ready < 0 && errno != EINTR) return Status::system("wait for a TLS peer");
    if (deadline.passed()) return {Code::kTimeout, "the TLS peer did not answer in time"};
  }
}

// What the peer's alert, or our own library, means for a person. Empty: nothing special.
std::string explain_reason(int reason) {
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return "the peer refused our certificate: it was not issued by the peer's CA; both machines "
             "must use certificates and the CA file of one pool";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "the peer refused our certificate: it has expired (or is not valid yet by the peer's "
             "clock); issue a new one with `farcall ca`";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
      return "the peer refused our certificate: it was revoked; ask for a new one (`farcall ca "
             "issue` makes it)";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "the peer requires a certificate and was shown none; set certificate and key";
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      return "the peer refused our certificate: it is of the wrong kind; a client needs a client "
             "certificate, a server a server certificate";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      return "the peer refused our certificate; its log says why";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "the peer showed no certificate; it needs one of this pool";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return "the peer does not speak TLS 1.3, which is all that is spoken here";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST: return "the peer does not speak TLS at all; is the port right?";
    default: return "";
  }
}

}  // namespace

TlsChannel::TlsChannel(Fd socket) : socket_(std::move(socket)) {}

TlsChannel::~TlsChannel() {
  close();
  SSL_free(ssl_);
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::connect(Fd socket, const TlsContext& tls,
                                                        const std::string& server_name,
                                                        Deadline deadline) {
  std::unique_ptr<TlsChannel> channel(new TlsChannel(std::move(socket)));
  Status done = channel->handshake(tls, server_name, deadline);
  if (!done.ok()) return done;
  return channel;
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::accept(Fd socket, const TlsContext& tls,
                                                       Deadline deadline) {
  std::unique_ptr<TlsChannel> channel(new TlsChannel(std::move(socket)));
  Status done = channel->handshake(tls, "", deadline);
  if (!done.ok()) return done;
  return channel;
}

Status TlsChannel::handshake(const TlsContext& tls, const std::string& server_name,
                             Deadline deadline) {
  ssl_ = SSL_new(tls.native());
  if (ssl_ == nullptr) return {Code::kSystem, "TLS: " + take_crypto_error()};
  server_name_ = server_name;
  SSL_set_app_data(ssl_, &seen_);
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  const bool server = tls.accepts();
  if (!server) {
    X509_VERIFY_PARAM* verify = SSL_get0_param(ssl_);
    const bool address = is_address(server_name);
    const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(verify, server_name.c_str())
                            : X509_VERIFY_PARAM_set1_host(verify, server_name.c_str(), 0);
    if (server_name.empty() || set != 1) {
      return {Code::kDenied, "\"" + server_name + "\" is no name to expect of a server"};
    }
    X509_VERIFY_PARAM_set_hostflags(
        verify, X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (!address) SSL_set_tlsext_host_name(ssl_, server_name.c_str());
  }
  FARCALL_TRY(run([&] { return server ? SSL_accept(ssl_) : SSL_connect(ssl_); }, deadline));
  X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr && tls.side() == TlsContext::Side::kAuthority) return ok();
  if (certificate == nullptr)
    return {Code::kDenied, explain_reason(SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)};
  Result<PeerIdentity> who = identity_of(certificate);
  if (!who.ok()) return who.status();
  peer_ = std::move(who).value();
  Result<std::array<std::byte, 32>> key = hash_of_key(certificate);
  if (key.ok()) peer_key_ = key.value();
  return key.status();
}

Status TlsChannel::run(FunctionRef<int()> step, Deadline deadline) {
  if (ssl_ == nullptr || !socket_) return {Code::kClosed, "the TLS connection is closed"};
  for (;;) {
    ERR_clear_error();
    const int result = step();
    const int error = SSL_get_error(ssl_, result);
    const Status verdict = result > 0 || error == SSL_ERROR_WANT_READ ? ok() : refusal(error);
    // Also after a failure: an alert tells the peer why.
    Status pushed = push(deadline);
    if (!verdict.ok()) return verdict;
    if (!pushed.ok()) return pushed;
    if (result > 0) return ok();
    FARCALL_TRY(pull(deadline));
  }
}

Status TlsChannel::refusal(int error) {
  if (error == SSL_ERROR_ZERO_RETURN) return {Code::kClosed, "the TLS peer ended the connection"};
  const std::string whose =
      SSL_is_server(ssl_) ? "the client's certificate" : "the server's certificate";
  const int reason = ERR_GET_REASON(ERR_peek_error());
  const long verified = SSL_get_verify_result(ssl_);
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
    take_crypto_error();
    const int why = static_cast<int>(verified);
    if (is_other_name(why)) {
      return {Code::kDenied, explain_other_name(whose, server_name_, seen_.names)};
    }
    if (why == X509_V_ERR_CERT_REVOKED) return {Code::kDenied, whose + " " + seen_.denial};
    return {Code::kDenied, explain_verification(why, seen_.not_after, whose)};
  }
  const std::string known = explain_reason(reason);
  const std::string library = take_crypto_error();
  return {Code::kDenied, known.empty() ? "TLS failed: " + library : known};
}

Status TlsChannel::push(Deadline deadline) {
  char* bytes = nullptr;
  BIO* from = SSL_get_wbio(ssl_);
  const long pending = BIO_get_mem_data(from, &bytes);
  for (long at = 0; at < pending;) {
    const ssize_t sent = ::send(socket_.get(), bytes + at, static_cast<std::size_t>(pending - at),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      at += sent;
    } else if (errno == EAGAIN) {
      FARCALL_TRY(wait_for(socket_.get(), POLLOUT, deadline));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {Code::kClosed, "the TLS peer closed the connection"};
    } else if (errno != EINTR) {
      return Status::system("send to a TLS peer");
    }
  }
  static_cast<void>(BIO_reset(from));
  return ok();
}

Status TlsChannel::pull(Deadline deadline) {
  std::array<std::byte, kSocketPieceBytes> piece;
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (got > 0) {
      const int kept = BIO_write(SSL_get_rbio(ssl_), piece.data(), static_cast<int>(got));
      return kept == got ? ok() : Status(Code::kSystem, "TLS: " + take_crypto_error());
    }
    if (got == 0 || errno == ECONNRESET) {
      return {Code::kClosed, "the TLS peer closed the connection"};
    }
    if (errno == EAGAIN) {
      FARCALL_TRY(wait_for(socket_.get(), POLLIN, deadline));
    } else if (errno != EINTR) {
      return Status::system("receive from a TLS peer");
    }
  }
}

Status TlsChannel::send(std::span<const std::byte> bytes, Deadline deadline) {
  if (bytes.empty()) return ok();
  return run([&] { return SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())); },
             deadline);
}

Status TlsChannel::receive(std::span<std::byte> room, Deadline deadline) {
  while (!room.empty()) {
    int got = 0;
    FARCALL_TRY(
        run([&] { return got = SSL_read(ssl_, room.data(), static_cast<int>(room.size())); },
            deadline));
    room = room.subspan(static_cast<std::size_t>(got));
  }
  return ok();
}

Status TlsChannel::export_key(const std::string& label, std::span<const std::byte> context,
                              std::span<std::byte> out) {
  const auto* from = reinterpret_cast<const unsigned char*>(context.data());
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  if (ssl_ == nullptr || SSL_export_keying_material(ssl_, to, out.size(), label.data(),
                                                    label.size(), from, context.size(), 1) != 1) {
    return {Code::kSystem, "TLS exporter: " + take_crypto_error()};
  }
  return ok();
}

std::string TlsChannel::describe() const {
  if (ssl_ == nullptr) return "closed";
  return std::string(SSL_get_version(ssl_)) + ", " + SSL_get_cipher_name(ssl_);
}

void TlsChannel::close() {
  if (!socket_) return;
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_)) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    // A peer that does not read is not waited for.
    char* bytes = nullptr;
    const long pending = BIO_get_mem_data(SSL_get_wbio(ssl_), &bytes);
    if (pending > 0) {
      static_cast<void>(::send(socket_.get(), bytes, static_cast<std::size_t>(pending),
                               MSG_NOSIGNAL | MSG_DONTWAIT));
    }
    ERR_clear_error();
  }
  ::shutdown(socket_.get(), SHUT_RDWR);
  socket_.reset();
}

void TlsChannel::abandon() {
  socket_.reset();
  SSL_free(ssl_);  // wipes its secrets
  ssl_ = nullptr;
}

}  // namespace farcall::security
