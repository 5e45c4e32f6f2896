// Client, supervisor and worker in one process, over real TCP and TLS on the loopback address.
#include "transport/link/dial.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/security/test_pool.h"
#include "tests/support/switched.h"
#include "transport/link/acceptor.h"
#include "transport/link/engine.h"
#include "transport/link/handover.h"
#include "transport/link/lanes.h"
#include "transport/link/socket.h"

using namespace farcall;
using namespace farcall::link;
using farcall::testing::TestPool;

namespace {

constexpr std::uint64_t kTable = 0xfeed;

Deadline soon() { return Deadline::after(system_clock(), 5'000); }

// What a supervisor does, once: control connection, two lanes, handover to a worker; and then what
// the worker does. The steps' outcomes are kept for the test to look at.
class TestServer {
 public:
  explicit TestServer(const TestPool& pool) {
    Result<security::TlsContext> tls =
        security::TlsContext::load(pool.server(), security::TlsContext::Side::kServer);
    REQUIRE(tls.ok());
    tls_ = std::make_unique<security::TlsContext>(std::move(tls).value());
    Result<Fd> listener = listen_tcp("127.0.0.1", 0);
    REQUIRE_MESSAGE(listener.ok(), listener.status().to_string());
    listener_ = std::move(listener).value();
  }
  ~TestServer() {
    if (thread_.joinable()) thread_.join();
  }

  void serve() {
    thread_ = std::thread([this] { status = run(); });
  }
  // Grants shared memory that cannot be reached, and then, when asked again, what is left.
  void serve_unreachable_memory() {
    thread_ = std::thread([this] {
      Result<std::unique_ptr<ControlConnection>> first = accept_control();
      if (!first.ok()) return;
      offered_first = first.value()->hello().carriers;
      static_cast<void>(
          first.value()->grant(make_session_id(), {CarrierKind::kShm, "@farcall-nobody-is-there"}));
      if (keep_serving) status = run();
    });
  }
  void refuse(const Status& why) {
    thread_ = std::thread([this, why] {
      Result<std::unique_ptr<ControlConnection>> control = accept_control();
      status = control.ok() ? control.value()->refuse(why) : control.status();
    });
  }
  // Sends `reply` on the first lane in place of a worker, and keeps all connections open.
  void impersonate(std::vector<std::byte> reply) {
    thread_ = std::thread([this, reply] {
      Result<std::unique_ptr<ControlConnection>> accepted = accept_control();
      if (!accepted.ok()) return;
      control = std::move(accepted).value();
      static_cast<void>(control->grant(make_session_id()));
      for (Fd& lane : taken_) {
        Result<Fd> socket = accept_tcp(listener_);
        if (!socket.ok()) return;
        lane = std::move(socket).value();
      }
      static_cast<void>(read_lane_hello(taken_[0], soon()));
      status = write_all(taken_[0].get(), reply, soon());
    });
  }
  void join() { thread_.join(); }
  std::uint16_t port() const { return bound_port(listener_); }

  Status status;
  CarrierSet offered_first = 0;
  bool keep_serving = true;
  std::uint8_t stripes = 1;        // allowed
  std::uint8_t granted_least = 1;  // granted whatever the client asked for
  bool swap_stripes = false;       // the worker gets two in the other order
  std::unique_ptr<ControlConnection> control;
  std::unique_ptr<Session> session;

 private:
  Result<std::unique_ptr<ControlConnection>> accept_control() {
    Result<Fd> socket = accept_tcp(listener_);
    if (!socket.ok()) return socket.status();
    Result<ConnectionKind> kind = connection_kind(socket.value(), soon());
    if (!kind.ok()) return kind.status();
    if (kind.value() != ConnectionKind::kTls) return Status(Code::kMalformed, "no TLS");
    return accept_tls(std::move(socket).value(), *tls_, {kTable, "0.1.0"}, soon());
  }

  Status run() {
    Result<std::unique_ptr<ControlConnection>> accepted = accept_control();
    if (!accepted.ok()) return accepted.status();
    control = std::move(accepted).value();
    Handover gift;
    gift.session_id = make_session_id();
    const std::uint8_t granted = std::min(control->hello().stripes, stripes);
    Result<SessionKeys> keys =
        control->grant(gift.session_id, {CarrierKind::kTcp, "", std::max(granted, granted_least)});
    if (!keys.ok()) return keys.status();
    gift.keys = std::move(keys).value();
    if (granted_least > granted) return ok();  // the client opens no lane then
    gift.bulk.resize(granted);
    for (std::size_t i = 0; i < 1 + gift.bulk.size(); ++i) FARCALL_TRY(accept_lane(gift));
    if (swap_stripes) std::swap(gift.bulk[0], gift.bulk[1]);
    return work(gift);
  }

  Status accept_lane(Handover& gift) {
    Result<Fd> socket = accept_tcp(listener_);
    if (!socket.ok()) return socket.status();
    Result<ConnectionKind> kind = connection_kind(socket.value(), soon());
    if (!kind.ok()) return kind.status();
    Result<LaneHello> hello = read_lane_hello(socket.value(), soon());
    if (!hello.ok()) return hello.status();
    if (hello->session_id != gift.session_id) return {Code::kDenied, "another session's lane"};
    const std::size_t number = hello->connection;
    if (number > gift.bulk.size()) return {Code::kMalformed, "a lane too many"};
    (number == 0 ? gift.calls : gift.bulk[number - 1]) = std::move(socket).value();
    return ok();
  }

  Status work(const Handover& gift) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return Status::system("socketpair");
    }
    Fd mine(ends[0]), workers(ends[1]);
    FARCALL_TRY(send_session(mine.get(), gift));
    Result<Handover> got = receive_session(workers.get(), soon());
    if (!got.ok()) return got.status();
    Result<LaneCarriers> lanes = lanes_of(got.value(), nullptr, soon());
    if (!lanes.ok()) return lanes.status();
    Result<std::unique_ptr<Session>> up = session_from_carriers(
        std::move(lanes).value(), std::move(got->keys), Role::kServer, soon());
    if (!up.ok()) return up.status();
    session = std::move(up).value();
    return ok();
  }

  std::unique_ptr<security::TlsContext> tls_;
  Fd listener_;
  std::array<Fd, kLanes> taken_;
  std::thread thread_;
};

DialOptions options_for(const TestPool& pool, const TestServer& server) {
  DialOptions options;
  options.host = "127.0.0.1";
  options.port = server.port();
  options.certificate_path = pool.client().certificate_path;
  options.key_path = pool.client().key_path;
  options.ca_path = pool.client().ca_path;
  options.table_fingerprint = kTable;
  options.version = "0.1.0";
  options.timeout_ms = 5'000;
  return options;
}

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
