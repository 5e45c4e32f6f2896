#include "transport/link/hello_io.h"

#include "transport/link/peer.h"

namespace farcall::link {
namespace {

template <class Hello>
Status send_any(security::TlsChannel& channel, const Hello& hello, Deadline deadline) {
  std::array<std::byte, sizeof(std::uint32_t) + limits::kHelloBytesMax> message{};
  Result<std::size_t> bytes = encode(hello, std::span(message).subspan(sizeof(std::uint32_t)));
  if (!bytes.ok()) return bytes.status();
  const auto length = static_cast<std::uint32_t>(bytes.value());
  std::memcpy(message.data(), &length, sizeof(length));
  return channel.send(std::span(message).first(sizeof(length) + length), deadline);
}

}  // namespace

Status send_hello(security::TlsChannel& channel, const ClientHello& hello, Deadline deadline) {
  return send_any(channel, hello, deadline);
}

Status send_hello(security::TlsChannel& channel, const ServerHello& hello, Deadline deadline) {
  return send_any(channel, hello, deadline);
}

Status send_hello(security::TlsChannel& channel, const PeerHello& hello, Deadline deadline) {
  return send_any(channel, hello, deadline);
}

Result<std::size_t> receive_hello(security::TlsChannel& channel, HelloRoom& room,
                                  Deadline deadline) {
  std::uint32_t length = 0;
  Status got = channel.receive(std::as_writable_bytes(std::span(&length, 1)), deadline);
  if (!got.ok()) return got;
  if (length == 0 || length > room.size()) {
    return Status(Code::kMalformed, "a hello of " + std::to_string(length) + " bytes");
  }
  got = channel.receive(std::span(room).first(length), deadline);
  if (!got.ok()) return got;
  return std::size_t{length};
}

}  // namespace farcall::link
