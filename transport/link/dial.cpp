#include "transport/link/dial.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <utility>

#include "security/tls.h"
#include "security/tls_channel.h"
#include "transport/link/carrier.h"
#include "transport/link/hello_io.h"
#include "transport/link/socket.h"

namespace farcall::link {
namespace {

std::string place(const DialOptions& options) {
  return options.host + ":" + std::to_string(options.port);
}

// Says which server the trouble is with; keeps cause and code.
Status at(const DialOptions& options, const Status& why) {
  if (why.ok() || why.text().find(place(options)) != std::string::npos) return why;
  return {why.code(), place(options) + ": " + why.text(), why.detail()};
}

Result<std::unique_ptr<security::TlsChannel>> open_control(const DialOptions& options,
                                                           Deadline deadline) {
  Result<security::TlsContext> tls =
      security::TlsContext::load({options.certificate_path, options.key_path, options.ca_path},
                                 security::TlsContext::Side::kClient);
  if (!tls.ok()) return tls.status();
  Result<Fd> socket = connect_tcp(options.host, options.port, deadline);
  if (!socket.ok()) return socket.status();
  set_use(socket.value().get(), SocketUse::kControl);
  const std::string& name = options.server_name.empty() ? options.host : options.server_name;
  return security::TlsChannel::connect(std::move(socket).value(), tls.value(), name, deadline);
}

Result<ServerHello> exchange_hellos(const DialOptions& options, security::TlsChannel& control,
                                    Deadline deadline) {
  ClientHello mine;
  mine.strict = options.strict;
  mine.table_fingerprint = options.table_fingerprint;
  mine.pid = static_cast<std::uint32_t>(::getpid());
  mine.version = options.version;
  Status sent = send_hello(control, mine, deadline);
  // A server that refused our certificate has closed by now: its alert, which says why, is read
  // below.
  if (!sent.ok() && sent.code() != Code::kClosed) return sent;
  HelloRoom room;
  Result<std::size_t> bytes = receive_hello(control, room, deadline);
  if (!bytes.ok()) return bytes.status();
  Result<ServerHello> hello = parse_server_hello(std::span(room).first(bytes.value()));
  if (!hello.ok()) return hello;
  if (!hello->granted) return Status(Code::kDenied, "refused: " + hello->refusal.text());
  // The server checked this too; here it guards against a server that does not.
  mine.protocol = hello->protocol;
  if (Status match = check_match(mine, hello->table_fingerprint, hello->version); !match.ok()) {
    return match;
  }
  return hello;
}

Result<std::unique_ptr<Carrier>> open_lane(const DialOptions& options, const SessionId& id,
                                           std::uint8_t lane, int control_fd, Deadline deadline) {
  Result<Fd> socket = connect_tcp(options.host, options.port, deadline);
  if (!socket.ok()) return socket.status();
  std::array<std::byte, kLaneHelloBytes> hello;
  encode(LaneHello{lane, id}, hello);
  if (Status sent = write_all(socket.value().get(), hello, deadline); !sent.ok()) return sent;
  return make_socket_carrier(std::move(socket).value(), control_fd);
}

Result<std::unique_ptr<Session>> open_session(const DialOptions& options,
                                              std::unique_ptr<security::TlsChannel> control,
                                              const SessionId& id, Deadline deadline) {
  SessionParts parts;
  Result<SessionKeys> keys = derive_session_keys(*control, id);
  if (!keys.ok()) return keys.status();
  parts.keys = std::move(keys).value();
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    Result<std::unique_ptr<Carrier>> carrier =
        open_lane(options, id, lane, control->fd(), deadline);
    if (!carrier.ok()) return carrier.status();
    (lane == kLaneCalls ? parts.calls : parts.bulk) = std::move(carrier).value();
  }
  parts.role = Role::kClient;
  parts.control = std::move(control);
  Result<std::unique_ptr<Session>> session = SessionParts::start(std::move(parts));
  if (!session.ok()) return session;
  if (Status up = SessionParts::confirm(*session.value(), deadline); !up.ok()) {
    if (up.code() != Code::kClosed && up.code() != Code::kTimeout) return up;
    return Status(up.code(), "the server granted a session, but its worker did not come up (" +
                                 up.text() + "); the server's log says why");
  }
  return session;
}

}  // namespace

Status parse_server(std::string_view text, DialOptions* options) {
  const Status wrong(Code::kUnsupported, "\"" + std::string(text) +
                                             "\" is no server; write host:port, for instance "
                                             "gpu1:7717 or [::1]:7717");
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong;
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 2) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    return wrong;
  }
  std::uint16_t number = 0;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), number);
  if (host.empty() || parsed.ec != std::errc() || parsed.ptr != port.data() + port.size() ||
      number == 0) {
    return wrong;
  }
  options->host = host;
  options->port = number;
  return ok();
}

Result<std::unique_ptr<Session>> dial(const DialOptions& options, HelloInfo* out) {
  const Deadline deadline = Deadline::after(system_clock(), options.timeout_ms);
  Result<std::unique_ptr<security::TlsChannel>> control = open_control(options, deadline);
  if (!control.ok()) return at(options, control.status());
  Result<ServerHello> hello = exchange_hellos(options, *control.value(), deadline);
  if (!hello.ok()) return at(options, hello.status());
  HelloInfo info{hello->version, control.value()->peer(), hello->session_id,
                 control.value()->describe()};
  Result<std::unique_ptr<Session>> session =
      open_session(options, std::move(control).value(), info.session_id, deadline);
  if (!session.ok()) return at(options, session.status());
  if (out != nullptr) *out = std::move(info);
  return session;
}

}  // namespace farcall::link
