// A hello on its TLS connection: its length (u32), then the hello.
//
//   FARCALL_TRY(send_hello(*channel, hello, deadline));
//   Result<std::size_t> bytes = receive_hello(*channel, room, deadline);
//
// Threads: one per channel.  Errors: as TlsChannel, and kMalformed for an impossible length.
#pragma once
#include <array>
#include <cstring>

#include "security/tls_channel.h"
#include "transport/base/limits.h"
#include "transport/link/hello.h"

namespace farcall::link {

using HelloRoom = std::array<std::byte, limits::kHelloBytesMax>;

Status send_hello(security::TlsChannel& channel, const ClientHello& hello, Deadline deadline);
Status send_hello(security::TlsChannel& channel, const ServerHello& hello, Deadline deadline);
Status send_hello(security::TlsChannel& channel, const PeerHello& hello, Deadline deadline);
// Returns how many bytes of `room` the hello fills.
Result<std::size_t> receive_hello(security::TlsChannel& channel, HelloRoom& room,
                                  Deadline deadline);

}  // namespace farcall::link
