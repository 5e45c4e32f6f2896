#include "security/ca.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <ctime>

#include "security/identity.h"
#include "tests/security/test_pool.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::TestPool;

TEST_CASE("an issued certificate says who, for what and for how long") {
  TestPool pool;
  Result<CertificateFacts> client = describe_certificate(pool.client().certificate_path);
  REQUIRE_MESSAGE(client.ok(), client.status().to_string());
  CHECK(identity_uri(client->who) == "spiffe://lab/tenant/acme/user/ann");
  CHECK(client->for_client);
  CHECK_FALSE(client->for_server);
  CHECK(client->not_after - client->not_before == 7 * 86'400);
  CHECK(client->who.fingerprint.size() == 64);

  Result<CertificateFacts> server = describe_certificate(pool.server().certificate_path);
  REQUIRE(server.ok());
  CHECK(identity_uri(server->who) == "spiffe://lab/server/gpu1");
  CHECK(server->for_server);
  CHECK_FALSE(server->for_client);
  CHECK(server->who.serial != client->who.serial);
  CHECK(describe_certificate(pool.path("ca.crt"))->who.kind == IdentityKind::kAuthority);
}

TEST_CASE("a saved key is for its owner only, and is never overwritten") {
  TestPool pool;
  struct stat facts {};
  REQUIRE(::stat(pool.client().key_path.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  Status again = save(pool.ca(), pool.path("ca.crt"), pool.path("ca.key"));
  CHECK(again.code() == Code::kDenied);
  // The certificate alone is in the way: the new key does not stay behind.
  CHECK_FALSE(save(pool.ca(), pool.path("ca.crt"), pool.path("new.key")).ok());
  CHECK(::stat(pool.path("new.key").c_str(), &facts) != 0);
}

TEST_CASE("a CA that was saved can be loaded to issue more") {
  TestPool pool;
  Result<IssuedIdentity> ca = load(pool.path("ca.crt"), pool.path("ca.key"));
  REQUIRE(ca.ok());
  CHECK(issue(ca.value(), TestPool::client_options()).ok());
}

TEST_CASE("wrong options are refused by name") {
  TestPool pool;
  CHECK(create_ca({.pool = "a/b"}).status().code() == Code::kUnsupported);
  CHECK(create_ca({.pool = "lab", .days = 0}).status().code() == Code::kUnsupported);
  LeafOptions client = TestPool::client_options();
  client.user = "ann/../bob";
  CHECK(issue(pool.ca(), client).status().code() == Code::kUnsupported);
  client = TestPool::client_options();
  client.days = 31;
  CHECK(issue(pool.ca(), client).status().code() == Code::kUnsupported);
  LeafOptions server = TestPool::server_options();
  server.names = {"gpu1,URI:spiffe://lab/tenant/a/user/b"};
  CHECK(issue(pool.ca(), server).status().code() == Code::kUnsupported);
  server.names = {};
  CHECK(issue(pool.ca(), server).status().code() == Code::kUnsupported);
}

TEST_CASE("a leaf is no CA and issues nothing") {
  TestPool pool;
  Result<IssuedIdentity> leaf = load(pool.client().certificate_path, pool.client().key_path);
  REQUIRE(leaf.ok());
  CHECK(issue(leaf.value(), TestPool::client_options()).status().code() == Code::kDenied);
}
