// The hello: fixed-layout messages that open a session, and their parsers.
//
//   std::array<std::byte, limits::kHelloBytesMax> room;
//   Result<std::size_t> bytes = encode(hello, room);
//   Result<ClientHello> back = parse_client_hello(std::span(room).first(bytes.value()));
//
// On the wire each hello stands after its length (u32), inside TLS. The lane hello is the one
// message in the clear. Threads: plain values.  Parsers take hostile bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/base/status.h"
#include "transport/base/ticket.h"
#include "transport/link/carrier_kind.h"
#include "transport/link/cipher.h"
#include "transport/link/compress.h"
#include "transport/link/keys.h"

namespace farcall::link {

// Changes whenever hello, lanes, records or the messages of hand_direct.h change. The table of
// calls has its own fingerprint.
inline constexpr std::uint16_t kProtocolVersion = 6;
inline constexpr std::size_t kVersionBytesMax = 64;
inline constexpr std::size_t kRefusalBytesMax = 1024;
inline constexpr std::size_t kPlaceBytesMax = 256;

struct ClientHello {
  std::uint16_t protocol = kProtocolVersion;
  std::uint64_t table_fingerprint = 0;
  std::uint32_t pid = 0;                          // as the client sees it; for logs
  std::string version;                            // printable, ≤ kVersionBytesMax
  CarrierSet carriers = only(CarrierKind::kTcp);  // what the client can and wants; never empty
  std::uint8_t stripes = 1;  // connections for payloads it would like, 1 … limits::kStripesMax
  Compress compress = Compress::kOff;  // what it would like for payloads
  LaneFloors floors{};                 // what its policy insists on
  // A lease token (security/lease_token.h), ≤ limits::kLeaseBytesMax; empty: it has none.
  std::vector<std::byte> lease{};
};

// What the lanes run over, and where the client finds them.
struct CarrierOffer {
  CarrierKind kind = CarrierKind::kTcp;
  // Printable, ≤ kPlaceBytesMax. tcp: empty, the lanes come to the port of the control connection.
  // shm: "@name", an abstract Unix socket. rdma: "host:port" of the worker's own listener.
  std::string place;
  std::uint8_t stripes = 1;  // connections for payloads; more than 1 for tcp only
  bool compress = false;     // payloads, as the client would like it
  LaneFloors floors{};       // the stricter of both policies: what the keys are made for
};

struct ServerHello {
  std::uint16_t protocol = kProtocolVersion;
  bool granted = false;
  std::uint64_t table_fingerprint = 0;
  SessionId session_id;  // zero unless granted
  std::string version;
  Status refusal;      // why not, when not granted
  CarrierOffer offer;  // when granted
};

Result<std::size_t> encode(const ClientHello& hello, std::span<std::byte> room);
Result<std::size_t> encode(const ServerHello& hello, std::span<std::byte> room);
Result<ClientHello> parse_client_hello(std::span<const std::byte> bytes);
Result<ServerHello> parse_server_hello(std::span<const std::byte> bytes);

// The same message once more, not granted, is a server's farewell: why it ends a session that it
// granted.

// ok when these two ends can talk; else kDenied naming both values and what to do.
Status check_match(const ClientHello& client, std::uint64_t server_fingerprint,
                   const std::string& server_version);

// What a server says that wants to send bytes to a session of another: peer.h.
struct PeerHello {
  std::uint16_t protocol = kProtocolVersion;
  std::uint64_t table_fingerprint = 0;
  std::string version;  // printable, ≤ kVersionBytesMax
  SessionId session;    // the receiver's
  Ticket ticket{};      // one that is good there
};

// --- lanes: {"FCL1", u8 version, u8 connection, 16 bytes session id}, in the clear ---------------
inline constexpr std::size_t kLaneHelloBytes = 22;
// A session's connections: the one for calls, then the stripes of the payload lane.
inline constexpr std::uint8_t kCallsConnection = 0;
inline constexpr std::uint8_t kFirstBulkConnection = 1;
struct LaneHello {
  std::uint8_t connection = kCallsConnection;  // … kFirstBulkConnection + limits::kStripesMax - 1
  SessionId session_id;
};
void encode(const LaneHello& hello, std::span<std::byte, kLaneHelloBytes> room);
Result<LaneHello> parse_lane_hello(std::span<const std::byte> bytes);

}  // namespace farcall::link
