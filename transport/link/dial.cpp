#include "transport/link/dial.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "security/lease_file.h"
#include "security/tls.h"
#include "security/tls_channel.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/link/carrier.h"
#include "transport/link/hello_io.h"
#include "transport/link/lanes.h"
#include "transport/link/rdma.h"
#include "transport/link/session_parts.h"
#include "transport/link/socket.h"
#include "transport/link/stripes.h"

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
  Result<security::TlsContext> tls = security::TlsContext::load(
      {options.certificate_path, options.key_path, options.ca_path, options.deny_list_path},
      security::TlsContext::Side::kClient);
  if (!tls.ok()) return tls.status();
  Result<Fd> socket = connect_tcp(options.host, options.port, deadline);
  if (!socket.ok()) return socket.status();
  set_use(socket.value().get(), SocketUse::kControl);
  const std::string& name = options.server_name.empty() ? options.host : options.server_name;
  return security::TlsChannel::connect(std::move(socket).value(), tls.value(), name, deadline);
}

// How many connections to ask for, for payloads.
std::uint8_t wanted_stripes(const DialOptions& options, std::int64_t round_trip_us) {
  if (!is_on(Switch::kStripes)) return 1;
  const std::size_t wanted = options.stripes != 0 ? options.stripes : stripes_for(round_trip_us);
  return static_cast<std::uint8_t>(std::min(wanted, limits::kStripesMax));
}

// Which of our leases to show the server at the other end.
struct ChosenLease {
  security::LeaseBytes token;  // empty: there is none for it
  std::string others;          // then: the servers that there are some for
};

// Whether it still holds is for the server to say, by its own clock.
Result<ChosenLease> choose_lease(const std::string& path, const std::string& server) {
  ChosenLease chosen;
  if (path.empty()) return chosen;
  Result<std::vector<security::LeaseBytes>> tokens = security::load_leases(path);
  if (!tokens.ok()) return tokens.status();
  std::uint32_t serial = 0;
  for (security::LeaseBytes& token : tokens.value()) {
    Result<security::LeaseToken> lease = security::read_lease(token);
    if (!lease.ok()) return Status(Code::kDenied, path + ": " + lease.status().text());
    if (lease->server == server && lease->serial > serial) {
      serial = lease->serial;
      chosen.token = std::move(token);
    } else if (lease->server != server) {
      chosen.others += (chosen.others.empty() ? "" : ", ") + lease->server;
    }
  }
  return chosen;
}

Result<ServerHello> exchange_hellos(const DialOptions& options, CarrierSet carriers,
                                    security::TlsChannel& control, Deadline deadline) {
  ClientHello mine;
  mine.compress = options.compress;
  mine.stripes = wanted_stripes(options, round_trip_us(control.fd()));
  mine.table_fingerprint = options.table_fingerprint;
  mine.pid = static_cast<std::uint32_t>(::getpid());
  mine.version = options.version;
  mine.carriers = carriers;
  mine.floors = options.floors.value_or(floors_from_environment());
  Result<ChosenLease> lease = choose_lease(options.lease_path, control.peer().host);
  if (!lease.ok()) return lease.status();
  mine.lease = std::move(lease->token);
  Status sent = send_hello(control, mine, deadline);
  // A server that refused our certificate has closed by now: its alert, which says why, is read
  // below.
  if (!sent.ok() && sent.code() != Code::kClosed) return sent;
  HelloRoom room;
  Result<std::size_t> bytes = receive_hello(control, room, deadline);
  if (!bytes.ok()) return bytes.status();
  Result<ServerHello> hello = parse_server_hello(std::span(room).first(bytes.value()));
  if (!hello.ok()) return hello;
  if (!hello->granted) {
    std::string why = "refused: " + hello->refusal.text();
    if (!lease->others.empty() && mine.lease.empty()) {
      why += " (" + options.lease_path + " is for " + lease->others + ")";
    }
    return Status(Code::kDenied, why);
  }
  // The server checked this too; here it guards against a server that does not.
  mine.protocol = hello->protocol;
  if (Status match = check_match(mine, hello->table_fingerprint, hello->version); !match.ok()) {
    return match;
  }
  if (!has(carriers, hello->offer.kind)) {
    return Status(Code::kMalformed, std::string("the server chose ") + name_of(hello->offer.kind) +
                                        ", which this client did not offer");
  }
  if (hello->offer.compress && options.compress == Compress::kOff) {
    return Status(Code::kMalformed, "the server compresses, which this client did not offer");
  }
  if (hello->offer.stripes > mine.stripes) {
    return Status(Code::kMalformed, "the server chose more connections than this client offered");
  }
  if (!holds(hello->offer.floors, mine.floors)) {
    return Status(Code::kDenied, "the server wants less encryption than this client's policy asks");
  }
  return hello;
}

Result<std::unique_ptr<Session>> open_session(std::unique_ptr<security::TlsChannel> control,
                                              const ServerHello& hello, LaneCarriers lanes,
                                              Deadline deadline) {
  SessionParts parts;
  Result<SessionKeys> keys = derive_session_keys(*control, hello.session_id, hello.offer.floors);
  if (!keys.ok()) return keys.status();
  parts.keys = std::move(keys).value();
  parts.role = Role::kClient;
  parts.calls = std::move(lanes.calls);
  parts.bulk = std::move(lanes.bulk);
  parts.compress = lanes.compress;
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

// What to offer a server at the other end of `control`.
CarrierSet possible(const DialOptions& options, CarrierSet given_up, int control_fd) {
  if (options.carrier) return only(*options.carrier);
  CarrierSet set = kAllCarriers;
  if (!is_on(Switch::kShm) || !is_same_host(control_fd)) set = without(set, CarrierKind::kShm);
  if (!rdma_available().ok()) set = without(set, CarrierKind::kRdma);
  return static_cast<CarrierSet>(set & ~given_up);
}

// One attempt from the first byte on.
//   unreachable  set to what the server chose when its lanes could not be opened here: another
//                attempt without it may succeed
Result<std::unique_ptr<Session>> dial_once(const DialOptions& options, CarrierSet given_up,
                                           HelloInfo* info, std::optional<CarrierKind>* unreachable,
                                           Deadline deadline) {
  unreachable->reset();
  Result<std::unique_ptr<security::TlsChannel>> control = open_control(options, deadline);
  if (!control.ok()) return control.status();
  const int control_fd = control.value()->fd();
  Result<ServerHello> hello =
      exchange_hellos(options, possible(options, given_up, control_fd), *control.value(), deadline);
  if (!hello.ok()) return hello.status();
  info->server_version = hello->version;
  info->server = control.value()->peer();
  info->session_id = hello->session_id;
  info->tls = control.value()->describe();
  info->carrier = hello->offer.kind;
  info->stripes = hello->offer.stripes;
  info->compress = hello->offer.compress;
  if (options.compress != Compress::kOff && !info->compress) {
    FARCALL_LOG_INFO("%s does not allow compression", place(options).c_str());
  }
  info->round_trip_us = round_trip_us(control_fd);
  Result<LaneCarriers> lanes = dial_lanes({hello->offer, control_fd}, hello->session_id, deadline);
  if (!lanes.ok()) {
    *unreachable = hello->offer.kind;
    return lanes.status();
  }
  if (info->compress) lanes->compress = options.compress;
  return open_session(std::move(control).value(), hello.value(), std::move(lanes).value(),
                      deadline);
}

}  // namespace

Status parse_server(std::string_view text, DialOptions* options) {
  const Status wrong(Code::kUnsupported, "\"" + std::string(text) +
                                             "\" is no server; write host:port, for instance "
                                             "gpu1:7717 or [::1]:7717, or with a carrier: "
                                             "tcp://gpu1:7717, shm://, rdma://");
  options->carrier.reset();
  if (const std::size_t end = text.find("://"); end != std::string_view::npos) {
    options->carrier = carrier_named(text.substr(0, end));
    if (!options->carrier) return wrong;
    text.remove_prefix(end + 3);
  }
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

Status parse_stripes(std::string_view text, DialOptions* options) {
  options->stripes = 0;
  if (text.empty() || text == "auto") return ok();
  std::size_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  if (!whole || number == 0 || number > limits::kStripesMax) {
    return {Code::kUnsupported, "\"" + std::string(text) +
                                    "\" is no number of lanes: it is auto, or 1 to " +
                                    std::to_string(limits::kStripesMax)};
  }
  options->stripes = number;
  return ok();
}

Status parse_compress(std::string_view text, DialOptions* options) {
  const std::optional<Compress> mode = compress_named(text.empty() ? "off" : text);
  if (!mode) {
    return {Code::kUnsupported,
            "\"" + std::string(text) + "\" is no way to compress: it is off, auto or on"};
  }
  options->compress = *mode;
  return ok();
}

Result<std::unique_ptr<Session>> dial(const DialOptions& options, HelloInfo* out) {
  const Deadline deadline = Deadline::after(system_clock(), options.timeout_ms);
  if (options.carrier == CarrierKind::kRdma) FARCALL_TRY(rdma_available());
  CarrierSet given_up = 0;
  HelloInfo info;
  for (;;) {
    std::optional<CarrierKind> unreachable;
    Result<std::unique_ptr<Session>> session =
        dial_once(options, given_up, &info, &unreachable, deadline);
    if (session.ok()) {
      if (out != nullptr) *out = std::move(info);
      return session;
    }
    if (!unreachable || options.carrier || *unreachable == CarrierKind::kTcp) {
      return at(options, session.status());
    }
    given_up = static_cast<CarrierSet>(given_up | only(*unreachable));
    info.carrier_reason =
        std::string("no ") + name_of(*unreachable) + ": " + session.status().text();
    FARCALL_LOG_INFO("%s: %s; trying without", place(options).c_str(), info.carrier_reason.c_str());
  }
}

}  // namespace farcall::link
