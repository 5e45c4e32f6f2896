// What a supervisor says when it ends a session: why, on the TLS connection that the session began
// on, before the lanes end. In form it is a ServerHello that refuses.
//
//   supervisor:  control.refuse(why);
//   client:      if (Status told = hear_farewell(*control); !told.ok()) …
//
// Threads: one per channel.
#pragma once
#include "security/tls_channel.h"
#include "transport/base/status.h"

namespace farcall::link {

// Waits a moment for it, less where the connection ends without a word.
// Returns ok where nothing was said, else the server's reason.
Status hear_farewell(security::TlsChannel& control);

}  // namespace farcall::link
