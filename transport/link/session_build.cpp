// A whole session in one process, for tests.
#include <array>
#include <utility>

#include "security/crypto.h"
#include "security/tls_channel.h"
#include "transport/base/secure_arena.h"
#include "transport/link/carrier.h"
#include "transport/link/session_parts.h"

namespace farcall::link {
namespace {

SessionParts parts_of(Role role, std::unique_ptr<Carrier> calls, std::unique_ptr<Carrier> bulk,
                      SessionKeys keys, RekeyLimits rekey) {
  SessionParts parts;
  parts.role = role;
  parts.calls = std::move(calls);
  parts.bulk = std::move(bulk);
  parts.keys = std::move(keys);
  parts.rekey = rekey;
  return parts;
}

}  // namespace

Result<SessionPair> make_loopback_session_pair(RekeyLimits rekey) {
  std::array<std::byte, SessionKeys::kBytes> secret;
  security::fill_random(secret);
  CarrierPair calls = make_loopback_carriers();
  CarrierPair bulk = make_loopback_carriers();
  Result<std::unique_ptr<Session>> client = SessionParts::start(parts_of(
      Role::kClient, std::move(calls.a), std::move(bulk.a), SessionKeys::load(secret), rekey));
  Result<std::unique_ptr<Session>> server = SessionParts::start(parts_of(
      Role::kServer, std::move(calls.b), std::move(bulk.b), SessionKeys::load(secret), rekey));
  wipe(secret);
  if (!client.ok()) return client.status();
  if (!server.ok()) return server.status();
  const Deadline now = Deadline::after(system_clock(), limits::kHandshakeMs);
  if (Status up = SessionParts::confirm(*client.value(), now); !up.ok()) return up;
  if (Status up = SessionParts::confirm(*server.value(), now); !up.ok()) return up;
  return SessionPair{std::move(client).value(), std::move(server).value()};
}

}  // namespace farcall::link
