// TestServer: what a client dials in a test, supervisor and worker in one, over real TCP and TLS.
//
//   TestServer server(pool);
//   server.serve();
//   auto session = dial(options_for(pool, server), &info);
//   server.join();            // then its status, control connection and session are the test's
//
// Owner: one test.  Threads: its own does the serving, once; all else is for after join().
#pragma once
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/security/test_pool.h"
#include "transport/link/acceptor.h"
#include "transport/link/dial.h"
#include "transport/link/handover.h"
#include "transport/link/lanes.h"
#include "transport/link/socket.h"

namespace farcall::link {

inline constexpr std::uint64_t kDialTable = 0xfeed;  // fingerprint

inline Deadline soon() { return Deadline::after(system_clock(), 5'000); }

// What a supervisor does, once: control connection, two lanes, handover to a worker; and then what
// the worker does. The steps' outcomes are kept for the test to look at.
class TestServer {
 public:
  explicit TestServer(const testing::TestPool& pool) {
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
  LaneFloors floors{};             // granted
  bool opens_no_lanes = false;     // the client is not going to take what is granted
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
    return accept_tls(std::move(socket).value(), *tls_, {kDialTable, "0.1.0"}, soon());
  }

  Status run() {
    Result<std::unique_ptr<ControlConnection>> accepted = accept_control();
    if (!accepted.ok()) return accepted.status();
    control = std::move(accepted).value();
    Handover gift;
    gift.session_id = make_session_id();
    const std::uint8_t granted = std::min(control->hello().stripes, stripes);
    Result<SessionKeys> keys = control->grant(
        gift.session_id, {CarrierKind::kTcp, "", std::max(granted, granted_least), false, floors});
    if (!keys.ok()) return keys.status();
    gift.keys = std::move(keys).value();
    if (granted_least > granted || opens_no_lanes) return ok();  // the client opens no lane then
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

inline DialOptions options_for(const testing::TestPool& pool, const TestServer& server) {
  DialOptions options;
  options.host = "127.0.0.1";
  options.port = server.port();
  options.certificate_path = pool.client().certificate_path;
  options.key_path = pool.client().key_path;
  options.ca_path = pool.client().ca_path;
  options.table_fingerprint = kDialTable;
  options.version = "0.1.0";
  options.timeout_ms = 5'000;
  return options;
}

}  // namespace farcall::link
