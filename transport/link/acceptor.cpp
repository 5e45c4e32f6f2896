#include "transport/link/acceptor.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "security/tls_channel.h"
#include "transport/link/hello_io.h"
#include "transport/link/peer.h"
#include "transport/link/socket.h"

namespace farcall::link {
namespace {

constexpr std::byte kTlsFirstByte{0x16};
constexpr std::byte kLaneFirstByte{'F'};
constexpr std::int64_t kAnswerMs = 5'000;

}  // namespace

Result<ConnectionKind> connection_kind(const Fd& socket, Deadline deadline) {
  for (;;) {
    std::byte first{};
    const ssize_t got = ::recv(socket.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 1 && first == kTlsFirstByte) return ConnectionKind::kTls;
    if (got == 1 && first == kLaneFirstByte) return ConnectionKind::kLane;
    if (got == 1)
      return Status(Code::kMalformed, "a connection starts with neither TLS nor a lane");
    if (got == 0) return Status(Code::kClosed, "a connection ended before its first byte");
    if (errno != EAGAIN && errno != EINTR) return Status::system("look at a connection");
    if (Status waited = wait_readable(socket.get(), deadline); !waited.ok()) return waited;
  }
}

ControlConnection::ControlConnection(std::unique_ptr<security::TlsChannel> channel,
                                     const LocalHello& local)
    : channel_(std::move(channel)), local_(local), peer_(channel_->peer()) {}

ControlConnection::~ControlConnection() = default;

Status ControlConnection::answer(const ServerHello& hello) {
  return send_hello(*channel_, hello, Deadline::after(system_clock(), kAnswerMs));
}

Status ControlConnection::refuse(const Status& why) {
  ServerHello hello;
  hello.table_fingerprint = local_.table_fingerprint;
  hello.version = local_.version;
  hello.refusal = why.ok() ? Status(Code::kDenied, "refused without a reason") : why;
  Status sent = answer(hello);
  channel_->close();
  return sent;
}

Result<SessionKeys> ControlConnection::grant(const SessionId& id, const CarrierOffer& offer) {
  Result<SessionKeys> keys = derive_session_keys(*channel_, id, offer.floors);
  if (!keys.ok()) return keys;
  ServerHello hello;
  hello.granted = true;
  hello.table_fingerprint = local_.table_fingerprint;
  hello.version = local_.version;
  hello.session_id = id;
  hello.offer = offer;
  if (Status sent = answer(hello); !sent.ok()) return sent;
  return keys;
}

const std::array<std::byte, 32>& ControlConnection::peer_key() const {
  return channel_->peer_key();
}

int ControlConnection::fd() const { return channel_->fd(); }

Status ControlConnection::wait_event(Deadline deadline) {
  std::array<std::byte, 1> room;
  Status got = channel_->receive(room, deadline);
  if (got.ok()) return {Code::kMalformed, "a client spoke after its hello"};
  // After the handshake, what TLS does not accept is a broken or forged byte.
  if (got.code() == Code::kDenied) return {Code::kMalformed, got.text()};
  return got;
}

void ControlConnection::close() {
  if (channel_->fd() >= 0) ::shutdown(channel_->fd(), SHUT_RDWR);
}

Status ControlConnection::read_hello(Deadline deadline) {
  HelloRoom room;
  Result<std::size_t> bytes = receive_hello(*channel_, room, deadline);
  if (!bytes.ok()) return bytes.status();
  const std::span<const std::byte> text = std::span(room).first(bytes.value());
  if (!is_server()) {
    Result<ClientHello> hello = parse_client_hello(text);
    if (hello.ok()) hello_ = std::move(hello).value();
    return hello.status();
  }
  Result<PeerHello> hello = parse_peer_hello(text);
  if (!hello.ok()) return hello.status();
  peer_hello_ = std::move(hello).value();
  // Both must speak of the same calls, as with a client.
  hello_.protocol = peer_hello_.protocol;
  hello_.table_fingerprint = peer_hello_.table_fingerprint;
  hello_.version = peer_hello_.version;
  return ok();
}

Result<std::unique_ptr<ControlConnection>> accept_tls(Fd socket, const security::TlsContext& tls,
                                                      const LocalHello& local, Deadline deadline) {
  tune_socket(socket.get());
  set_use(socket.get(), SocketUse::kControl);
  Result<std::unique_ptr<security::TlsChannel>> channel =
      security::TlsChannel::accept(std::move(socket), tls, deadline);
  if (!channel.ok()) return channel.status();
  std::unique_ptr<ControlConnection> control(
      new ControlConnection(std::move(channel).value(), local));
  if (Status read = control->read_hello(deadline); !read.ok()) return read;
  Status match = check_match(control->hello_, local.table_fingerprint, local.version);
  if (!match.ok()) {
    static_cast<void>(control->refuse(match));  // the caller logs why; the client may be gone
    return match;
  }
  return control;
}

Result<LaneHello> read_lane_hello(const Fd& socket, Deadline deadline) {
  std::array<std::byte, kLaneHelloBytes> room;
  if (Status got = read_exactly(socket.get(), room, deadline); !got.ok()) return got;
  return parse_lane_hello(room);
}

}  // namespace farcall::link
