// SessionParts: what a session is made of, for those who make one.
//
//   SessionParts parts;  parts.calls = …;  parts.bulk = …;  parts.keys = …;
//   auto session = SessionParts::start(std::move(parts));
//   FARCALL_TRY(SessionParts::confirm(*session.value(), deadline));
//
// Owner: plain values, moved into the session.  Threads: one.
#pragma once
#include <memory>

#include "transport/base/clock.h"
#include "transport/link/carrier.h"
#include "transport/link/compress.h"
#include "transport/link/keys.h"
#include "transport/link/security_cost.h"
#include "transport/link/session.h"

namespace farcall::security {
class TlsChannel;
}

namespace farcall::link {

// What a session is built from. `control` may be null (a worker has none); a client's session keeps
// its TLS connection open with it, because the supervisor ends the worker when it closes.
struct SessionParts {
  Role role = Role::kClient;
  std::unique_ptr<Carrier> calls;
  std::unique_ptr<Carrier> bulk;
  SessionKeys keys;
  Compress compress = Compress::kOff;  // payloads, as both ends agreed
  RekeyLimits rekey = RekeyLimits::standard();
  std::unique_ptr<security::TlsChannel> control;

  SessionParts();
  SessionParts(SessionParts&&) noexcept;
  ~SessionParts();

  // Sends a sealed confirmation record on every connection of both lanes.
  static Result<std::unique_ptr<Session>> start(SessionParts parts);
  // Waits for the peer's. Nothing but close() may be called on the session before this is ok.
  static Status confirm(Session& session, Deadline deadline);
  // See security_cost().
  static SecurityCost cost(const Session& session);
};

}  // namespace farcall::link
