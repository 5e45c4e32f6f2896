// Client, supervisor and worker in one process, over real TCP and TLS on the loopback address.
#include "transport/link/dial.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/security/test_pool.h"
#include "tests/support/switched.h"
#include "tests/transport/link/dial_server.h"
#include "transport/link/engine.h"
#include "transport/link/socket.h"

using namespace farcall;
using namespace farcall::link;
using farcall::testing::TestPool;

namespace {

wire::FrameHeader head_of(std::uint16_t id) {
  wire::FrameHeader head;
  head.id = id;
  return head;
}

bool says(const Status& status, const std::string& words) {
  return status.text().find(words) != std::string::npos;
}

std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>((i * 31) & 0xff);
  return all;
}

}  // namespace

TEST_CASE("a client dials, is known by name, and talks to its worker") {
  TestPool pool;
  TestServer server(pool);
  server.serve();
  DialOptions options = options_for(pool, server);
  HelloInfo info;
  Result<std::unique_ptr<Session>> session = dial(options, &info);
  server.join();
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  REQUIRE_MESSAGE(server.status.ok(), server.status.to_string());
  CHECK(info.server.host == "gpu1");
  CHECK(info.server_version == "0.1.0");
  CHECK(info.tls == "TLSv1.3, TLS_AES_256_GCM_SHA384");
  CHECK(server.control->peer().tenant == "acme");
  CHECK(server.control->peer().user == "ann");
  CHECK(session.value()->describe() == "tcp 127.0.0.1:" + std::to_string(server.port()) +
                                           ", AES-256-GCM (" +
                                           std::string(to_string(chosen_engine())) + ")");

  const auto payload = pattern(3'000'000);
  std::vector<std::byte> got(payload.size());
  std::thread worker([&] {
    Result<Frame> frame = server.session->receive(soon());
    REQUIRE(frame.ok());
    REQUIRE(server.session->bulk_read(got).ok());
    wire::FrameHeader reply = frame->head;
    reply.flags = wire::kReply;
    REQUIRE(server.session->post(reply, Flush::kNow, [](wire::Writer&) {}).ok());
  });
  REQUIRE(session.value()
              ->post_bulk(
                  head_of(0x0210), [](wire::Writer&) {}, payload)
              .ok());
  Result<Frame> reply = session.value()->receive(soon());
  worker.join();
  REQUIRE(reply.ok());
  CHECK(got == payload);
}

TEST_CASE("payloads go over as many connections as both ends want") {
  Switched all_on("");
  TestPool pool;
  struct {
    std::size_t asked;
    std::uint8_t allowed;
    std::size_t granted;
  } const cases[] = {{4, 8, 4}, {8, 3, 3}, {1, 8, 1}, {0, 8, 1}};  // 0: this host is near
  for (const auto& [asked, allowed, granted] : cases) {
    TestServer server(pool);
    server.stripes = allowed;
    server.serve();
    DialOptions options = options_for(pool, server);
    options.carrier = CarrierKind::kTcp;
    options.stripes = asked;
    HelloInfo info;
    Result<std::unique_ptr<Session>> session = dial(options, &info);
    server.join();
    REQUIRE_MESSAGE(session.ok(), session.status().to_string());
    REQUIRE_MESSAGE(server.status.ok(), server.status.to_string());
    CHECK(info.stripes == granted);
    CHECK(session.value()->stats().bulk_connections == granted);
    CHECK(server.session->stats().bulk_connections == granted);
    const std::string said = "payloads over " + std::to_string(granted) + " connections";
    CHECK((session.value()->describe().find(said) != std::string::npos) == (granted > 1));
  }
}

TEST_CASE("a client without stripes asks for one connection, whatever it was told") {
  Switched off("stripes");
  TestPool pool;
  TestServer server(pool);
  server.stripes = 8;
  server.serve();
  DialOptions options = options_for(pool, server);
  options.stripes = 4;
  HelloInfo info;
  Result<std::unique_ptr<Session>> session = dial(options, &info);
  server.join();
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  CHECK(info.stripes == 1);
}

TEST_CASE("a server that wants more connections than the client offered is refused") {
  TestPool pool;
  TestServer server(pool);
  server.granted_least = 2;
  server.serve();
  DialOptions options = options_for(pool, server);
  options.stripes = 1;
  Status why = dial(options, nullptr).status();
  server.join();
  CHECK(why.code() == Code::kMalformed);
  CHECK_MESSAGE(says(why, "more connections"), why.text());
}

TEST_CASE("connections that were swapped on their way do not open") {
  Switched all_on("");
  TestPool pool;
  TestServer server(pool);
  server.stripes = 4;
  server.swap_stripes = true;
  server.serve();
  DialOptions options = options_for(pool, server);
  options.stripes = 4;
  Status why = dial(options, nullptr).status();
  server.join();
  CHECK_FALSE(why.ok());
  CHECK(server.status.code() == Code::kDenied);
}

TEST_CASE("the supervisor sees the client end, and the worker too") {
  TestPool pool;
  TestServer server(pool);
  server.serve();
  Result<std::unique_ptr<Session>> session = dial(options_for(pool, server), nullptr);
  server.join();
  REQUIRE(session.ok());
  CHECK(server.control->wait_event(Deadline::after(system_clock(), 1)).code() == Code::kTimeout);
  session.value().reset();
  CHECK(server.control->wait_event(soon()).code() == Code::kClosed);
  CHECK(server.session->receive(soon()).status().code() == Code::kClosed);
}

TEST_CASE("a client that waits learns that the supervisor ended the session") {
  TestPool pool;
  TestServer server(pool);
  server.serve();
  Result<std::unique_ptr<Session>> session = dial(options_for(pool, server), nullptr);
  server.join();
  REQUIRE(session.ok());
  server.control->close();  // the lanes stay up
  Status why = session.value()->receive(soon()).status();
  CHECK(why.code() == Code::kClosed);
  CHECK_MESSAGE(says(why, "server ended the session"), why.text());
}

TEST_CASE("another table of calls is refused at hello, naming both") {
  TestPool pool;
  TestServer server(pool);
  server.serve();
  DialOptions options = options_for(pool, server);
  options.table_fingerprint = 0xbeef;
  options.version = "0.0.9";
  Status refused = dial(options, nullptr).status();
  server.join();
  CHECK(refused.code() == Code::kDenied);
  CHECK_MESSAGE(says(refused, "0x000000000000beef (Farcall 0.0.9)"), refused.text());
  CHECK(says(refused, "0x000000000000feed (Farcall 0.1.0)"));
  CHECK(server.status.code() == Code::kDenied);
}

TEST_CASE("shared memory that cannot be reached is done without, and the reason is told") {
  const Switched all_on("");
  TestPool pool;
  TestServer server(pool);
  server.serve_unreachable_memory();
  HelloInfo info;
  Result<std::unique_ptr<Session>> session = dial(options_for(pool, server), &info);
  server.join();
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  CHECK(has(server.offered_first, CarrierKind::kShm));
  CHECK_FALSE(has(server.control->hello().carriers, CarrierKind::kShm));
  CHECK(info.carrier == CarrierKind::kTcp);
  CHECK_MESSAGE(info.carrier_reason.find("no shm: ") == 0, info.carrier_reason);
}

TEST_CASE("with the shm switch off a client offers shared memory only if it insists") {
  const Switched off("shm");
  TestPool pool;
  for (const bool insists : {false, true}) {
    TestServer server(pool);
    server.keep_serving = false;
    server.serve_unreachable_memory();
    DialOptions options = options_for(pool, server);
    if (insists) options.carrier = CarrierKind::kShm;
    // What it is granted all the same, it cannot reach or does not take.
    CHECK_FALSE(dial(options, nullptr).ok());
    server.join();
    CHECK(has(server.offered_first, CarrierKind::kShm) == insists);
  }
}

TEST_CASE("a client that insists on shared memory is told that it cannot be reached") {
  TestPool pool;
  TestServer server(pool);
  server.keep_serving = false;
  server.serve_unreachable_memory();
  DialOptions options = options_for(pool, server);
  options.carrier = CarrierKind::kShm;
  Status why = dial(options, nullptr).status();
  server.join();
  CHECK(why.code() == Code::kNotFound);
  CHECK_MESSAGE(says(why, "needs a server on this host"), why.text());
}

TEST_CASE("a carrier that the client did not offer is not taken from a server") {
  TestPool pool;
  TestServer server(pool);
  server.keep_serving = false;
  server.serve_unreachable_memory();
  DialOptions options = options_for(pool, server);
  options.carrier = CarrierKind::kTcp;
  Status why = dial(options, nullptr).status();
  server.join();
  CHECK(why.code() == Code::kMalformed);
  CHECK_MESSAGE(says(why, "chose shm"), why.text());
}

TEST_CASE("a refusal reaches the client in the server's words") {
  TestPool pool;
  TestServer server(pool);
  server.refuse({Code::kBusy, "all 8 GPUs are taken; wait or ask for less"});
  Status refused = dial(options_for(pool, server), nullptr).status();
  server.join();
  CHECK(refused.code() == Code::kDenied);
  CHECK_MESSAGE(says(refused, "refused: all 8 GPUs are taken"), refused.text());
}

TEST_CASE("the wrong server name is refused before a hello is sent") {
  TestPool pool;
  TestServer server(pool);
  server.serve();
  DialOptions options = options_for(pool, server);
  options.server_name = "gpu2.test";
  Status refused = dial(options, nullptr).status();
  server.join();
  CHECK_MESSAGE(says(refused, "does not carry the name"), refused.text());
  CHECK_MESSAGE(says(refused, "dialled, gpu2.test; it carries localhost"), refused.text());
  CHECK_FALSE(server.status.ok());
}

TEST_CASE("someone who took a lane without the keys is found out") {
  TestPool pool;
  TestServer server(pool);
  // A well-formed confirmation record, sealed with nothing.
  std::vector<std::byte> forged(16 + 15 + 16);
  forged[0] = std::byte{15 + 16};
  forged[4] = std::byte{1};
  server.impersonate(forged);
  Status denied = dial(options_for(pool, server), nullptr).status();
  CHECK_MESSAGE(denied.code() == Code::kDenied, denied.to_string());
  CHECK(says(denied, "does not hold this session's keys"));
}

TEST_CASE("nobody at the port is said with the place and what to check") {
  TestPool pool;
  TestServer server(pool);
  DialOptions options = options_for(pool, server);
  {
    Result<Fd> free = listen_tcp("127.0.0.1", 0);
    options.port = bound_port(free.value());
  }
  Status status = dial(options, nullptr).status();
  CHECK(status.code() == Code::kSystem);
  CHECK(says(status, "127.0.0.1:" + std::to_string(options.port)));
  options.host = "no-such-host.invalid";
  CHECK(dial(options, nullptr).status().code() == Code::kNotFound);
}

TEST_CASE("a server that accepts and says nothing runs into the deadline") {
  TestPool pool;
  TestServer server(pool);  // its listener takes the connection into the queue, nobody serves
  DialOptions options = options_for(pool, server);
  options.timeout_ms = 50;
  CHECK(dial(options, nullptr).status().code() == Code::kTimeout);
}

TEST_CASE("a connection that starts with anything else is told apart at its first byte") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd mine(ends[0]), theirs(ends[1]);
  CHECK(connection_kind(mine, Deadline::after(system_clock(), 1)).status().code() ==
        Code::kTimeout);
  REQUIRE(::send(theirs.get(), "GET", 3, MSG_NOSIGNAL) == 3);
  CHECK(connection_kind(mine, soon()).status().code() == Code::kMalformed);
  theirs.reset();
}
