// TestPool: a CA, a server and a client identity in a folder of their own, gone when it dies.
//
//   TestPool pool;
//   Result<TlsContext> tls = TlsContext::load(pool.server(), TlsContext::Side::kServer);
//
// The server's certificate is for "localhost", "gpu1.test" and 127.0.0.1.  Threads: one.
#pragma once
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <utility>

#include "security/ca.h"
#include "security/identity.h"

namespace farcall::testing {

class TestPool {
 public:
  explicit TestPool(const std::string& name = "lab") {
    std::array<char, 64> pattern{"/tmp/farcall-test-XXXXXX"};
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern.data();
    Result<security::IssuedIdentity> ca = security::create_ca({.pool = name});
    REQUIRE_MESSAGE(ca.ok(), ca.status().to_string());
    ca_ = std::move(ca).value();
    REQUIRE(security::save(ca_, path("ca.crt"), path("ca.key")).ok());
    server_ = issue("server", server_options());
    client_ = issue("client", client_options());
  }
  ~TestPool() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TestPool(const TestPool&) = delete;
  TestPool& operator=(const TestPool&) = delete;

  static security::LeafOptions server_options() {
    security::LeafOptions options;
    options.use = security::Use::kServer;
    options.host = "gpu1";
    options.names = {"localhost", "gpu1.test", "127.0.0.1"};
    return options;
  }
  static security::LeafOptions client_options() {
    security::LeafOptions options;
    options.use = security::Use::kClient;
    options.tenant = "acme";
    options.user = "ann";
    return options;
  }
  // The same, two days ago and for one day.
  static security::LeafOptions expired(security::LeafOptions options) {
    options.valid_from = std::time(nullptr) - 2 * 86'400;
    options.days = 1;
    return options;
  }

  // Issues one more identity as <name>.crt and <name>.key.
  security::IdentityFiles issue(const std::string& name, const security::LeafOptions& options) {
    Result<security::IssuedIdentity> issued = security::issue(ca_, options);
    REQUIRE_MESSAGE(issued.ok(), issued.status().to_string());
    REQUIRE(security::save(issued.value(), path(name + ".crt"), path(name + ".key")).ok());
    return {path(name + ".crt"), path(name + ".key"), path("ca.crt")};
  }

  const security::IssuedIdentity& ca() const { return ca_; }
  const security::IdentityFiles& server() const { return server_; }
  const security::IdentityFiles& client() const { return client_; }
  std::string path(const std::string& file) const { return folder_ + "/" + file; }

 private:
  std::string folder_;
  security::IssuedIdentity ca_;
  security::IdentityFiles server_;
  security::IdentityFiles client_;
};

}  // namespace farcall::testing
