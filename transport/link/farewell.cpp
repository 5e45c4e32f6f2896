#include "transport/link/farewell.h"

#include "transport/link/hello_io.h"

namespace farcall::link {
namespace {

// The supervisor speaks first and ends the worker then, so its words are at most on their way.
constexpr std::int64_t kFarewellMs = 500;

}  // namespace

Status hear_farewell(security::TlsChannel& control) {
  HelloRoom room;
  Result<std::size_t> bytes =
      receive_hello(control, room, Deadline::after(system_clock(), kFarewellMs));
  if (!bytes.ok()) return ok();
  Result<ServerHello> said = parse_server_hello(std::span(room).first(bytes.value()));
  if (!said.ok() || said->granted) return ok();
  return {said->refusal.code(), "the server ended the session: " + said->refusal.text()};
}

}  // namespace farcall::link
