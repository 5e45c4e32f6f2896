// dial: from a host name to an open session, on the client.
//
//   DialOptions options;
//   FARCALL_TRY(parse_server("gpu1.example:7717", &options));
//   options.certificate_path = …;  options.table_fingerprint = api::table_fingerprint();
//   Result<std::unique_ptr<Session>> session = dial(options, nullptr);
//
// TCP, mutual TLS 1.3, hello, keys by the TLS exporter, two lanes over the carrier that both ends
// can and like best, the one for payloads over several connections where the server is far away, a
// sealed confirmation each way.
// transport/README.md has the bytes.  Threads: any; blocks until done or timeout_ms have passed.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "security/identity.h"
#include "transport/base/limits.h"
#include "transport/base/status.h"
#include "transport/link/carrier_kind.h"
#include "transport/link/compress.h"
#include "transport/link/keys.h"
#include "transport/link/session.h"

namespace farcall::link {

struct DialOptions {
  std::string host;  // name or address
  std::uint16_t port = 0;
  std::optional<CarrierKind> carrier;  // this one or none; without it: the best of all, and tcp
                                       // when the others cannot be had
  std::string certificate_path;        // PEM: the leaf, then intermediates
  std::string key_path;                // PEM
  std::string ca_path;                 // PEM
  std::string deny_list_path;          // security/deny_list.h; empty: none is looked at
  std::string server_name;  // DNS name or IP address the certificate must carry; empty: host
  std::uint64_t table_fingerprint = 0;
  std::string version;  // of the program, for error texts; up to 64 bytes
  // Connections for payloads, 1 … limits::kStripesMax; 0: by the distance of the server, see
  // stripes.h. The server may allow fewer, and other carriers than tcp have one.
  std::size_t stripes = 0;
  // Payloads: only where the server allows it too. Sizes leak, see compress.h.
  Compress compress = Compress::kOff;
  // What records are to be sealed with at least; without it as floors_from_environment() says.
  std::optional<LaneFloors> floors{};
  // A file of lease tokens, of which the one for the server dialled is shown; empty: none is.
  std::string lease_path{};
  std::int64_t timeout_ms = limits::kHandshakeMs;
};

struct HelloInfo {
  std::string server_version;
  security::PeerIdentity server;
  SessionId session_id;
  std::string tls;  // "TLSv1.3, TLS_AES_256_GCM_SHA384"
  CarrierKind carrier = CarrierKind::kTcp;
  bool compress = false;           // both ends agreed to it
  std::size_t stripes = 1;         // connections for payloads
  std::int64_t round_trip_us = 0;  // of the control connection, as the kernel saw it
  std::string carrier_reason;      // "no shm: …" when a better one could not be had; else empty
};

// "gpu1:7717", "10.0.0.2:7717", "[::1]:7717" into host and port; before it may stand the carrier to
// insist on: "tcp://", "shm://", "rdma://".
// Errors: kUnsupported with what is wrong.
Status parse_server(std::string_view text, DialOptions* options);

// "auto", "", or how many connections payloads are to have: what FARCALL_LANES and --lanes take.
// Errors: kUnsupported with what is wrong.
Status parse_stripes(std::string_view text, DialOptions* options);

// "off", "", "auto" or "on": what FARCALL_COMPRESS and --compress take.
// Errors: kUnsupported with what is wrong.
Status parse_compress(std::string_view text, DialOptions* options);

// out: may be null; filled on success only.
// Errors, each with its cause and what to do: kDenied (certificates, refusal by the server, table
// mismatch, no lease, no carrier in common), kTimeout, kClosed, kSystem, kMalformed, kNotFound (no
// such file or host), kUnsupported (rdma insisted on, where there is none).
Result<std::unique_ptr<Session>> dial(const DialOptions& options, HelloInfo* out);

}  // namespace farcall::link
