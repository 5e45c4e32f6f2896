// What a client of a test's server dials with: the loopback interface, and a table of calls that
// has the fingerprint of a supervisor made by a test.
//
//   auto session = dial(server->port(), pool.client());
//
// Owner: plain values.  Threads: any.
#pragma once
#include <memory>

#include "security/tls.h"
#include "transport/link/dial.h"

namespace farcall::server {

inline link::DialOptions options_for(std::uint16_t port, const security::IdentityFiles& identity) {
  link::DialOptions options;
  options.host = "127.0.0.1";
  options.port = port;
  options.certificate_path = identity.certificate_path;
  options.key_path = identity.key_path;
  options.ca_path = identity.ca_path;
  options.table_fingerprint = 17;
  options.version = "test";
  return options;
}

inline Result<std::unique_ptr<link::Session>> dial(std::uint16_t port,
                                                   const security::IdentityFiles& identity) {
  return link::dial(options_for(port, identity), nullptr);
}

}  // namespace farcall::server
