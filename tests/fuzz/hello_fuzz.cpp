// How it works: the input is a hello as it comes out of TLS, tried as a client's, as a server's
// and as that of a server that dials another.
// What parses must survive being written and parsed again, so that nothing is accepted that the
// encoder could not have said.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "transport/base/limits.h"
#include "transport/link/hello.h"
#include "transport/link/peer.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Room = std::array<std::byte, limits::kHelloBytesMax>;

void require(bool holds) {
  if (!holds) std::abort();
}

void client(std::span<const std::byte> bytes) {
  Result<ClientHello> hello = parse_client_hello(bytes);
  if (!hello.ok()) return;
  static_cast<void>(check_match(hello.value(), 1, "0.1.0"));
  Room room;
  Result<std::size_t> again = encode(hello.value(), room);
  require(again.ok());
  Result<ClientHello> back = parse_client_hello(std::span(room).first(again.value()));
  require(back.ok() && back->version == hello->version &&
          back->table_fingerprint == hello->table_fingerprint && back->pid == hello->pid);
  require(hello->protocol != kProtocolVersion ||
          (back->carriers == hello->carriers && back->stripes == hello->stripes &&
           back->compress == hello->compress && back->lease == hello->lease &&
           back->floors == hello->floors));
}

void server(std::span<const std::byte> bytes) {
  Result<ServerHello> hello = parse_server_hello(bytes);
  if (!hello.ok()) return;
  Room room;
  Result<std::size_t> again = encode(hello.value(), room);
  require(again.ok());
  Result<ServerHello> back = parse_server_hello(std::span(room).first(again.value()));
  require(back.ok() && back->granted == hello->granted && back->session_id == hello->session_id &&
          back->refusal.text() == hello->refusal.text());
  require(back->offer.kind == hello->offer.kind && back->offer.place == hello->offer.place &&
          back->offer.stripes == hello->offer.stripes &&
          back->offer.compress == hello->offer.compress &&
          back->offer.floors == hello->offer.floors);
}

void peer(std::span<const std::byte> bytes) {
  Result<PeerHello> hello = parse_peer_hello(bytes);
  if (!hello.ok()) return;
  Room room;
  Result<std::size_t> again = encode(hello.value(), room);
  require(again.ok());
  Result<PeerHello> back = parse_peer_hello(std::span(room).first(again.value()));
  require(back.ok() && back->version == hello->version && back->session == hello->session &&
          back->table_fingerprint == hello->table_fingerprint && back->ticket == hello->ticket);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  client(bytes);
  server(bytes);
  peer(bytes);
  return 0;
}
