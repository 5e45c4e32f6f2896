// AuthorityServer: the authority's service on a port, for `farcall ca serve`.
//
//   Result<std::unique_ptr<AuthorityServer>> server = AuthorityServer::open(options);
//   server.value()->run(signal_fd);                    // until SIGTERM or SIGINT
//
// A connection has a thread, one question and five seconds; at most kAuthorityConnectionsMax at a
// time, whatever they are doing. Owner: main, or a test.  Threads: run() by one, stop() by any.
#pragma once
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "security/authority_service.h"
#include "security/tls.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::cli {

struct AuthorityServerOptions {
  security::AuthorityService::Settings service;
  std::string host = "0.0.0.0";
  std::uint16_t port = 0;  // 0: the kernel chooses
};

class AuthorityServer {
 public:
  static Result<std::unique_ptr<AuthorityServer>> open(AuthorityServerOptions options);
  ~AuthorityServer();

  std::uint16_t port() const;
  Status run(int signal_fd);
  void stop();

 private:
  using Tls = std::shared_ptr<const security::TlsContext>;
  struct Connection {
    std::thread thread;
    std::atomic<bool> ended{false};
  };
  explicit AuthorityServer(security::AuthorityService service) : service_(std::move(service)) {}
  void accept_one();
  void serve(Fd socket, const Tls& tls);
  // Threads that have ended, or with `all` every one.
  void join(bool all);
  void look_after_itself();

  security::AuthorityService service_;
  Fd listener_;
  Fd stop_;  // eventfd
  Tls tls_;  // of run()'s thread
  std::list<Connection> connections_;
  std::int64_t looked_ = 0;  // Unix seconds
  std::int64_t warned_ = 0;  // of the issuing authority's end
  std::int64_t listed_ = 0;  // the deny list was dated
  std::string folder_;
  std::shared_ptr<security::KeyStore> keys_;
};

}  // namespace farcall::cli
