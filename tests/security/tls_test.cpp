// Both ends of TLS in this process, over a socket pair: who is let in, who is not, and whether the
// text says why.
#include "security/tls.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>
#include <fstream>
#include <string>
#include <thread>

#include "security/tls_channel.h"
#include "tests/security/test_pool.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::TestPool;

namespace {

using Channel = Result<std::unique_ptr<TlsChannel>>;

struct Outcome {
  Status server;  // of accepting
  Status client;  // of connecting, then of hearing one byte from the server
};

TlsContext load(const IdentityFiles& files, TlsContext::Side side) {
  Result<TlsContext> tls = TlsContext::load(files, side);
  REQUIRE_MESSAGE(tls.ok(), tls.status().to_string());
  return std::move(tls).value();
}

Deadline soon() { return Deadline::after(system_clock(), 5'000); }

// The server says one byte when it let the client in.
Outcome meet(const TlsContext& server, const TlsContext& client,
             const std::string& name = "gpu1.test") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd a(ends[0]), b(ends[1]);
  Outcome outcome;
  std::thread serving([&] {
    Channel channel = TlsChannel::accept(std::move(a), server, soon());
    outcome.server = channel.status();
    const std::array<std::byte, 1> yes{};
    if (channel.ok()) static_cast<void>(channel.value()->send(yes, soon()));
  });
  {
    Channel channel = TlsChannel::connect(std::move(b), client, name, soon());
    outcome.client = channel.status();
    std::array<std::byte, 1> heard;
    if (channel.ok()) outcome.client = channel.value()->receive(heard, soon());
  }
  serving.join();
  return outcome;
}

bool says(const Status& status, const std::string& words) {
  return status.text().find(words) != std::string::npos;
}

// Puts another certificate into a context that was loaded properly: what a client does that does
// not check itself first, as ours does.
void show_instead(const TlsContext& tls, const IdentityFiles& files) {
  REQUIRE(SSL_CTX_use_certificate_chain_file(tls.native(), files.certificate_path.c_str()) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey_file(tls.native(), files.key_path.c_str(), SSL_FILETYPE_PEM) == 1);
}

}  // namespace

TEST_CASE("two members of one pool meet, and each knows who the other is") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  for (const char* name : {"gpu1.test", "localhost", "127.0.0.1"}) {
    Outcome outcome = meet(server, client, name);
    CHECK_MESSAGE(outcome.server.ok(), outcome.server.to_string());
    CHECK_MESSAGE(outcome.client.ok(), outcome.client.to_string());
  }
  CHECK(client.own().tenant == "acme");
  CHECK(server.own().host == "gpu1");
}

TEST_CASE("exported keys are the same at both ends and differ by context") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Channel there = Status(Code::kClosed, "");
  std::thread serving([&] { there = TlsChannel::accept(Fd(ends[0]), server, soon()); });
  Channel here = TlsChannel::connect(Fd(ends[1]), client, "gpu1.test", soon());
  serving.join();
  REQUIRE(here.ok());
  REQUIRE(there.ok());
  std::array<std::byte, 44> a, b, c;
  const std::array<std::byte, 1> one{std::byte{1}}, two{std::byte{2}};
  REQUIRE(here.value()->export_key("label", one, a).ok());
  REQUIRE(there.value()->export_key("label", one, b).ok());
  REQUIRE(there.value()->export_key("label", two, c).ok());
  CHECK(a == b);
  CHECK(b != c);
  CHECK(here.value()->describe() == "TLSv1.3, TLS_AES_256_GCM_SHA384");
  CHECK(here.value()->peer().host == "gpu1");
  CHECK(there.value()->peer().user == "ann");
  here.value()->close();
  std::array<std::byte, 1> room;
  CHECK(there.value()->receive(room, soon()).code() == Code::kClosed);
}

TEST_CASE("a client of another CA is refused, and both sides say so") {
  TestPool pool, other;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  show_instead(client, other.client());
  Outcome outcome = meet(server, client);
  CHECK(outcome.server.code() == Code::kDenied);
  CHECK_MESSAGE(says(outcome.server, "not issued by our CA"), outcome.server.text());
  CHECK(outcome.client.code() == Code::kDenied);
  CHECK_MESSAGE(says(outcome.client, "not issued by the peer's CA"), outcome.client.text());
}

TEST_CASE("a server of another CA is refused by the client") {
  TestPool pool, other;
  Outcome outcome = meet(load(other.server(), TlsContext::Side::kServer),
                         load(pool.client(), TlsContext::Side::kClient));
  CHECK(outcome.client.code() == Code::kDenied);
  CHECK_MESSAGE(says(outcome.client, "server's certificate was not issued by our CA"),
                outcome.client.text());
  CHECK(outcome.server.code() == Code::kDenied);
}

TEST_CASE("an expired client certificate is refused with the reason") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  show_instead(client, pool.issue("old", TestPool::expired(TestPool::client_options())));
  Outcome outcome = meet(server, client);
  CHECK_MESSAGE(says(outcome.server, "client's certificate expired on 20"), outcome.server.text());
  CHECK_MESSAGE(says(outcome.client, "it has expired"), outcome.client.text());
}

TEST_CASE("an expired server certificate is refused by the client") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  show_instead(server, pool.issue("old", TestPool::expired(TestPool::server_options())));
  Outcome outcome = meet(server, load(pool.client(), TlsContext::Side::kClient));
  CHECK_MESSAGE(says(outcome.client, "server's certificate expired on"), outcome.client.text());
}

TEST_CASE("a client without a certificate is refused, and told what is missing") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  // A context that trusts the pool but has nothing to show.
  SSL_CTX* bare = client.native();
  SSL_CTX_set_cert_cb(
      bare,
      [](SSL* ssl, void*) {
        SSL_certs_clear(ssl);
        return 1;
      },
      nullptr);
  Outcome outcome = meet(server, client);
  CHECK_MESSAGE(says(outcome.server, "showed no certificate"), outcome.server.text());
  CHECK_MESSAGE(says(outcome.client, "requires a certificate"), outcome.client.text());
}

TEST_CASE("a server's certificate does not work as a client's, nor the other way round") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  show_instead(client, pool.server());
  Outcome outcome = meet(server, client);
  CHECK_MESSAGE(says(outcome.server, "wrong kind"), outcome.server.text());
  CHECK_MESSAGE(says(outcome.client, "wrong kind"), outcome.client.text());

  TlsContext honest = load(pool.client(), TlsContext::Side::kClient);
  show_instead(server, pool.client());
  outcome = meet(server, honest);
  CHECK(outcome.client.code() == Code::kDenied);
}

TEST_CASE("a server that does not carry the dialled name is refused") {
  TestPool pool;
  Outcome outcome = meet(load(pool.server(), TlsContext::Side::kServer),
                         load(pool.client(), TlsContext::Side::kClient), "gpu2.test");
  CHECK_MESSAGE(says(outcome.client, "does not carry the name"), outcome.client.text());
  CHECK_FALSE(outcome.server.ok());
  CHECK_MESSAGE(says(outcome.client, "dialled, gpu2.test;"), outcome.client.text());
  CHECK_MESSAGE(says(outcome.client, "it carries localhost, gpu1.test, 127.0.0.1:"),
                outcome.client.text());
  CHECK_MESSAGE(says(outcome.client, "--name"), outcome.client.text());
}

TEST_CASE("a server that does not carry the dialled address is refused, with those it carries") {
  TestPool pool;
  Outcome outcome = meet(load(pool.server(), TlsContext::Side::kServer),
                         load(pool.client(), TlsContext::Side::kClient), "10.1.2.3");
  CHECK_MESSAGE(says(outcome.client, "dialled, 10.1.2.3;"), outcome.client.text());
  CHECK_MESSAGE(says(outcome.client, "it carries localhost, gpu1.test, 127.0.0.1:"),
                outcome.client.text());
}

TEST_CASE("TLS 1.2 is not spoken") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  TlsContext client = load(pool.client(), TlsContext::Side::kClient);
  SSL_CTX_set_min_proto_version(client.native(), TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(client.native(), TLS1_2_VERSION);
  Outcome outcome = meet(server, client);
  CHECK_FALSE(outcome.server.ok());
  CHECK_MESSAGE(says(outcome.client, "does not speak TLS 1.3"), outcome.client.text());
}

TEST_CASE("our own mistakes are found when loading, with the path and what to do") {
  TestPool pool, other;
  const auto load_client = [](const IdentityFiles& files) {
    return TlsContext::load(files, TlsContext::Side::kClient).status();
  };
  IdentityFiles files = pool.client();
  files.certificate_path = pool.path("none.crt");
  CHECK(load_client(files).code() == Code::kNotFound);
  CHECK(says(load_client(files), "none.crt"));
  files = pool.client();
  files.ca_path = other.path("ca.crt");
  CHECK_MESSAGE(says(load_client(files), "not issued by our CA"), load_client(files).text());
  files = pool.client();
  files.key_path = pool.server().key_path;
  CHECK_MESSAGE(says(load_client(files), "is not the key of"), load_client(files).text());
  CHECK(says(load_client(pool.server()), "is no client certificate"));
  CHECK(says(load_client(pool.issue("old", TestPool::expired(TestPool::client_options()))),
             "expired on"));
  std::ofstream(pool.path("junk.crt")) << "this is no certificate\n";
  files = pool.client();
  files.certificate_path = pool.path("junk.crt");
  CHECK(says(load_client(files), "holds no PEM certificate"));
}

TEST_CASE("a peer that says nothing runs into the deadline") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd silent(ends[1]);
  CHECK(
      TlsChannel::accept(Fd(ends[0]), server, Deadline::after(system_clock(), 1)).status().code() ==
      Code::kTimeout);
}

TEST_CASE("a peer that does not speak TLS is told apart") {
  TestPool pool;
  TlsContext server = load(pool.server(), TlsContext::Side::kServer);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd peer(ends[1]);
  const std::string request = "GET / HTTP/1.1\r\nHost: gpu1\r\n\r\n";
  REQUIRE(::send(peer.get(), request.data(), request.size(), MSG_NOSIGNAL) > 0);
  Status status = TlsChannel::accept(Fd(ends[0]), server, soon()).status();
  CHECK_MESSAGE(says(status, "does not speak TLS at all"), status.text());
}

TEST_CASE("servers meet only where one lets servers in, and neither is taken for a client") {
  TestPool pool;
  auto options = TestPool::server_options();
  options.host = "gpu2";
  const IdentityFiles other = pool.issue("other", options);
  TlsContext dialling = load(other, TlsContext::Side::kPeer);
  Outcome met = meet(load(pool.server(), TlsContext::Side::kServerOfPeers), dialling);
  CHECK_MESSAGE(met.server.ok(), met.server.to_string());
  CHECK_MESSAGE(met.client.ok(), met.client.to_string());
  // Its clients come in as ever.
  met = meet(load(pool.server(), TlsContext::Side::kServerOfPeers),
             load(pool.client(), TlsContext::Side::kClient));
  CHECK(met.server.ok());
  // One that has no peers refuses them.
  met = meet(load(pool.server(), TlsContext::Side::kServer), dialling);
  CHECK(met.server.code() == Code::kDenied);
  CHECK(met.client.code() == Code::kDenied);
  // A server of another pool stays outside.
  TestPool foreign;
  met = meet(load(pool.server(), TlsContext::Side::kServerOfPeers),
             load(foreign.server(), TlsContext::Side::kPeer));
  CHECK(met.server.code() == Code::kDenied);
  // And a client's certificate dials nobody as a server.
  CHECK(TlsContext::load(pool.client(), TlsContext::Side::kPeer).status().code() == Code::kDenied);
}
