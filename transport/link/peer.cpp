#include "transport/link/peer.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "security/identity.h"
#include "security/tls_channel.h"
#include "transport/base/secure_arena.h"
#include "transport/link/dial.h"
#include "transport/link/hello_io.h"
#include "transport/link/lanes.h"
#include "transport/link/socket.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::link {
namespace {

constexpr std::uint32_t kPeerMagic = 0x31485046;     // "FPH1"
constexpr std::uint32_t kRequestMagic = 0x31525046;  // "FPR1"
// Always this long, so that one receive takes exactly one request.
constexpr std::size_t kRequestBytes = 128;
static_assert(4 + 4 + 16 + sizeof(Ticket) + 1 + kPeerNameBytesMax <= kRequestBytes);

Status malformed(const char* what) { return {Code::kMalformed, what}; }

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct RequestRoom {
  std::array<std::byte, kRequestBytes> bytes{};
  RequestRoom() = default;
  RequestRoom(const RequestRoom&) = delete;
  ~RequestRoom() { wipe(bytes); }
};

}  // namespace

Result<PeerPlace> parse_peer(const std::string& text) {
  const std::size_t at = text.find('@');
  const Status wrong(Code::kUnsupported,
                     "\"" + text +
                         "\" is no other server; write name@host:port, or host:port "
                         "where its certificate is for that host");
  DialOptions options;
  const std::string place = at == std::string::npos ? text : text.substr(at + 1);
  if (!parse_server(place, &options).ok() || options.carrier) return wrong;
  PeerPlace peer{at == std::string::npos ? options.host : text.substr(0, at), options.host,
                 options.port};
  if (!security::is_identity_word(peer.name)) return wrong;
  return peer;
}

Result<std::size_t> encode(const PeerHello& hello, std::span<std::byte> room) {
  if (hello.version.size() > kVersionBytesMax || !is_printable(hello.version)) {
    return Status(Code::kOverQuota, "the version text is too long or not printable");
  }
  wire::Writer out(room);
  out.put(kPeerMagic);
  out.put(hello.protocol);
  out.put(hello.table_fingerprint);
  out.put(hello.session.bytes);
  out.put(hello.ticket);
  out.put(static_cast<std::uint16_t>(hello.version.size()));
  out.bytes(hello.version.data(), hello.version.size());
  if (!out.ok()) return Status(Code::kOverQuota, "no room for the hello");
  return out.size();
}

Result<PeerHello> parse_peer_hello(std::span<const std::byte> bytes) {
  wire::Reader in(bytes);
  if (in.get<std::uint32_t>() != kPeerMagic) return malformed("this is no server's hello");
  PeerHello hello;
  hello.protocol = in.get<std::uint16_t>();
  hello.table_fingerprint = in.get<std::uint64_t>();
  hello.session.bytes = in.get<std::array<std::byte, 16>>();
  hello.ticket = in.get<Ticket>();
  const auto version_bytes = in.get<std::uint16_t>();
  if (version_bytes > kVersionBytesMax) return malformed("a version text that long");
  hello.version = text_of(in.bytes(version_bytes));
  if (in.failed()) return malformed("a server's hello is cut short");
  // It ends up in logs.
  if (!is_printable(hello.version)) return malformed("a version text that is not printable");
  // Another protocol may say other things behind this; all that is asked of it is to be told apart.
  if (hello.protocol != kProtocolVersion) return hello;
  if (!in.done()) return malformed("a server's hello says more than this protocol knows");
  return hello;
}

namespace {

Result<ServerHello> exchange(security::TlsChannel& control, const PeerHello& hello,
                             Deadline deadline) {
  Status sent = send_hello(control, hello, deadline);
  // A server that refused our certificate has closed by now: its alert, which says why, is read
  // below.
  if (!sent.ok() && sent.code() != Code::kClosed) return sent;
  HelloRoom room;
  Result<std::size_t> bytes = receive_hello(control, room, deadline);
  if (!bytes.ok()) return bytes.status();
  Result<ServerHello> answer = parse_server_hello(std::span(room).first(bytes.value()));
  if (!answer.ok()) return answer;
  if (!answer->granted) return Status(Code::kDenied, "refused: " + answer->refusal.text());
  if (answer->offer.kind != CarrierKind::kTcp || answer->offer.compress) {
    return malformed("another server offers what was not asked for");
  }
  if (!holds(answer->offer.floors, LaneFloors{})) {
    return malformed("another server offers a weaker cipher than servers use among each other");
  }
  return answer;
}

}  // namespace

Result<Handover> dial_peer(const PeerPlace& place, const security::TlsContext& tls,
                           const PeerHello& hello, Deadline deadline, security::PeerIdentity* who) {
  Result<Fd> socket = connect_tcp(place.host, place.port, deadline);
  if (!socket.ok()) return socket.status();
  set_use(socket.value().get(), SocketUse::kControl);
  auto control =
      security::TlsChannel::connect(std::move(socket).value(), tls, place.host, deadline);
  if (!control.ok()) return control.status();
  const std::string& name = control.value()->peer().host;
  if (name != place.name) {
    return Status(Code::kDenied, "the server there is " + name + ", and not " + place.name);
  }
  Result<ServerHello> answer = exchange(*control.value(), hello, deadline);
  if (!answer.ok()) return answer.status();
  Handover gift;
  gift.kind = HandoverKind::kPeerReached;
  gift.peer = place.name;
  gift.session_id = answer->session_id;
  Result<SessionKeys> keys =
      derive_session_keys(*control.value(), gift.session_id, answer->offer.floors);
  if (!keys.ok()) return keys.status();
  gift.keys = std::move(keys).value();
  const LanesAt at{answer->offer, control.value()->fd()};
  Result<std::vector<Fd>> lanes = dial_sockets(at, gift.session_id, deadline);
  if (!lanes.ok()) return lanes.status();
  gift.calls = std::move(lanes->front());
  for (std::size_t i = 1; i < lanes->size(); ++i) gift.bulk.push_back(std::move(lanes.value()[i]));
  if (who != nullptr) *who = control.value()->peer();
  return gift;
}

Status send_peer_request(int socket, const PeerRequest& request) {
  if (request.receiver.size() > kPeerNameBytesMax) {
    return {Code::kOverQuota, "the name of a server that long"};
  }
  RequestRoom room;
  wire::Writer out(room.bytes);
  out.put(kRequestMagic);
  out.put(request.number);
  out.put(request.session.bytes);
  out.put(request.ticket);
  out.put(static_cast<std::uint8_t>(request.receiver.size()));
  out.bytes(request.receiver.data(), request.receiver.size());
  return write_all(socket, room.bytes, Deadline::after(system_clock(), limits::kHandshakeMs));
}

Result<PeerRequest> receive_peer_request(int socket, Deadline deadline) {
  RequestRoom room;
  if (Status got = read_exactly(socket, room.bytes, deadline); !got.ok()) return got;
  wire::Reader in(room.bytes);
  const auto magic = in.get<std::uint32_t>();
  PeerRequest request;
  request.number = in.get<std::uint32_t>();
  request.session.bytes = in.get<std::array<std::byte, 16>>();
  request.ticket = in.get<Ticket>();
  request.receiver = text_of(in.bytes(in.get<std::uint8_t>()));
  if (in.failed() || magic != kRequestMagic || request.receiver.size() > kPeerNameBytesMax ||
      !security::is_identity_word(request.receiver)) {
    return malformed("what a worker said is no request for another server");
  }
  return request;
}

}  // namespace farcall::link
