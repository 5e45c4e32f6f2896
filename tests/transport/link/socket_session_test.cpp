// Sessions over real sockets and over shared memory: waking, back pressure, and what a stranger's
// bytes do.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/watched_thread.h"
#include "transport/link/acceptor.h"
#include "transport/link/carrier.h"
#include "transport/link/record.h"
#include "transport/link/session_parts.h"
#include "transport/link/shm.h"
#include "transport/link/socket.h"
#include "transport/link/stripes.h"

using namespace farcall;
using namespace farcall::link;

namespace {

Deadline soon() { return Deadline::after(system_clock(), 20'000); }

struct Ends {
  std::unique_ptr<Session> client;
  std::unique_ptr<Session> server;
  Fd calls;  // a second descriptor of the client's call lane: the attacker's
};

Ends start(SessionParts client, SessionParts server, Fd calls) {
  client.role = Role::kClient;
  server.role = Role::kServer;
  Ends ends;
  ends.calls = std::move(calls);
  ends.client = std::move(SessionParts::start(std::move(client))).value();
  ends.server = std::move(SessionParts::start(std::move(server))).value();
  REQUIRE(SessionParts::confirm(*ends.client, soon()).ok());
  REQUIRE(SessionParts::confirm(*ends.server, soon()).ok());
  return ends;
}

Ends over_sockets() {
  SessionParts client, server;
  Fd calls;
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    if (lane == kLaneCalls) calls = Fd(::dup(pair[0]));
    (lane == kLaneCalls ? client.calls : client.bulk) = make_socket_carrier(Fd(pair[0]), -1);
    (lane == kLaneCalls ? server.calls : server.bulk) = make_socket_carrier(Fd(pair[1]), -1);
  }
  return start(std::move(client), std::move(server), std::move(calls));
}

Ends over_shared_memory() {
  SessionParts client, server;
  Fd calls;
  for (std::uint8_t lane = 0; lane < kLanes; ++lane) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    if (lane == kLaneCalls) calls = Fd(::dup(pair[0]));
    auto offered = offer_shm(Fd(pair[1]), lane);
    REQUIRE_MESSAGE(offered.ok(), offered.status().to_string());
    auto joined = join_shm(Fd(pair[0]), lane, -1, soon());
    REQUIRE_MESSAGE(joined.ok(), joined.status().to_string());
    (lane == kLaneCalls ? client.calls : client.bulk) = std::move(joined).value();
    (lane == kLaneCalls ? server.calls : server.bulk) = std::move(offered).value();
  }
  return start(std::move(client), std::move(server), std::move(calls));
}

// The payload lane over three sockets. cut: of stripe 1, both ends, for whoever wants to break it.
Ends over_stripes(Fd* client_cut = nullptr, Fd* server_cut = nullptr) {
  SessionParts client, server;
  std::vector<std::unique_ptr<Carrier>> near, far;
  Fd calls;
  for (int i = 0; i < 4; ++i) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    if (i == 0) calls = Fd(::dup(pair[0]));
    if (i == 2 && client_cut != nullptr) *client_cut = Fd(::dup(pair[0]));
    if (i == 2 && server_cut != nullptr) *server_cut = Fd(::dup(pair[1]));
    near.push_back(make_socket_carrier(Fd(pair[0]), -1));
    far.push_back(make_socket_carrier(Fd(pair[1]), -1));
  }
  client.calls = std::move(near.front());
  server.calls = std::move(far.front());
  near.erase(near.begin());
  far.erase(far.begin());
  client.bulk = make_striped_carrier(std::move(near));
  server.bulk = make_striped_carrier(std::move(far));
  return start(std::move(client), std::move(server), std::move(calls));
}

// Runs the rest of a test once over each.
Ends over_each() {
  Ends ends;
  SUBCASE("over sockets") { ends = over_sockets(); }
  SUBCASE("over shared memory") { ends = over_shared_memory(); }
  SUBCASE("payloads over three sockets") { ends = over_stripes(); }
  return ends;
}

wire::FrameHeader head_of(std::uint16_t id) {
  wire::FrameHeader head;
  head.id = id;
  return head;
}

constexpr auto nothing = [](wire::Writer&) {};

std::vector<std::byte> pattern(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>((i * 13 + seed) & 0xff);
  return all;
}

}  // namespace

// One read takes several records: the second is then in no socket buffer that could be polled.
TEST_CASE("a record that was read along with another has arrived") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  const Fd sender(pair[0]);
  const std::unique_ptr<Carrier> carrier = make_socket_carrier(Fd(pair[1]), -1);
  CHECK_FALSE(carrier->rx_arrived());
  RecordHeader header;
  header.length = limits::kRecordTagBytes;
  std::array<std::byte, 2 * kRecordOverheadBytes> records{};
  std::memcpy(records.data(), &header, sizeof header);
  std::memcpy(records.data() + kRecordOverheadBytes, &header, sizeof header);
  REQUIRE(::write(sender.get(), records.data(), records.size()) ==
          static_cast<ssize_t>(records.size()));
  CHECK(carrier->rx_arrived());
  for (const bool more : {true, false}) {
    REQUIRE(carrier->rx_peek().ok());
    CHECK(carrier->rx_peek().value().size() == kRecordOverheadBytes);
    carrier->rx_release();
    CHECK(carrier->rx_arrived() == more);
  }
}

TEST_CASE("payloads pass both ways at once, each larger than any buffer") {
  Ends ends = over_each();
  const auto up = pattern(5'000'000, 1), down = pattern(5'000'000, 2);
  std::vector<std::byte> got_up(up.size()), got_down(down.size());
  Status sent_up, sent_down, read_up, read_down;
  std::thread threads[] = {
      std::thread([&] { sent_up = ends.client->post_bulk(head_of(1), nothing, up).status(); }),
      std::thread([&] { sent_down = ends.server->post_bulk(head_of(2), nothing, down).status(); }),
      std::thread([&] {
        read_up = ends.server->receive(soon()).status();
        if (read_up.ok()) read_up = ends.server->bulk_read(got_up);
      }),
      std::thread([&] {
        read_down = ends.client->receive(soon()).status();
        if (read_down.ok()) read_down = ends.client->bulk_read(got_down);
      }),
  };
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : {sent_up, sent_down, read_up, read_down}) {
    CHECK_MESSAGE(status.ok(), status.to_string());
  }
  CHECK(got_up == up);
  CHECK(got_down == down);
}

TEST_CASE("a payload uses every connection, and one that is called off does not disturb the next") {
  Ends ends = over_stripes();
  CHECK(ends.client->stats().bulk_connections == 3);
  const auto payload = pattern(300'000, 5);  // five records on three connections
  Status sent;
  std::thread sender([&] {
    sent = ends.client->post_bulk(head_of(1), nothing, payload).status();
    std::size_t asked = 0;
    const auto fail_late = [&](std::span<std::byte> room) {
      asked += room.size();
      return asked > 100'000 ? Status::driver("no more", 700) : ok();
    };
    if (sent.ok()) {
      CHECK(ends.client->post_bulk_from(head_of(2), nothing, 500'000, fail_late).status().code() ==
            Code::kDriver);
      sent = ends.client->post_bulk(head_of(3), nothing, payload).status();
    }
  });
  std::vector<std::byte> got(payload.size());
  REQUIRE(ends.server->receive(soon()).ok());
  REQUIRE(ends.server->bulk_read(got).ok());
  CHECK(got == payload);
  REQUIRE(ends.server->receive(soon()).ok());
  std::vector<std::byte> called_off(500'000);
  CHECK(ends.server->bulk_read(called_off).code() == Code::kDriver);
  REQUIRE(ends.server->receive(soon()).ok());
  REQUIRE(ends.server->bulk_read(got).ok());
  sender.join();
  CHECK(sent.ok());
  CHECK(got == payload);
}

TEST_CASE("a payload's connection that is cut ends the session at both ends") {
  Fd cut;
  Ends ends;
  SUBCASE("at the client") { ends = over_stripes(&cut); }
  SUBCASE("at the server") { ends = over_stripes(nullptr, &cut); }
  REQUIRE(::shutdown(cut.get(), SHUT_RDWR) == 0);
  std::vector<std::byte> got(5'000'000);
  Status read;
  std::thread reader([&] {
    read = ends.server->receive(soon()).status();
    if (read.ok()) read = ends.server->bulk_read(got);
  });
  const auto payload = pattern(got.size(), 6);
  Status sent = ends.client->post_bulk(head_of(1), nothing, payload).status();
  reader.join();
  CHECK(sent.code() == Code::kClosed);
  CHECK(read.code() == Code::kClosed);
  CHECK(ends.client->receive(soon()).status().code() == Code::kClosed);
  CHECK(ends.server->receive(soon()).status().code() == Code::kClosed);
}

TEST_CASE("a stranger's bytes on one of a payload's connections end the session") {
  Fd stripe;
  Ends ends = over_stripes(&stripe);
  const std::array<std::byte, 64> noise{};
  REQUIRE(write_all(stripe.get(), noise, soon()).ok());
  const auto payload = pattern(300'000, 7);
  std::thread sender(
      [&] { CHECK_NOTHROW((void)ends.client->post_bulk(head_of(1), nothing, payload)); });
  std::vector<std::byte> got(payload.size(), std::byte{0});
  REQUIRE(ends.server->receive(soon()).ok());
  CHECK(ends.server->bulk_read(got).code() == Code::kMalformed);
  sender.join();
  CHECK(ends.server->closed().code() == Code::kMalformed);
}

TEST_CASE("has_more sees a record that has arrived, without waiting for one") {
  Ends ends = over_each();
  CHECK_FALSE(ends.server->has_more());
  for (std::uint16_t id = 1; id < 50; ++id) {
    REQUIRE(ends.client->post(head_of(id), Flush::kNow, nothing).ok());
    CHECK(ends.server->has_more());
    CHECK(ends.server->receive(soon())->head.id == id);
    CHECK_FALSE(ends.server->has_more());
  }
}

TEST_CASE("calls pass while a payload is stuck") {
  Ends ends = over_each();
  const auto payload = pattern(5'000'000, 3);
  Status sent;
  std::thread sender([&] { sent = ends.client->post_bulk(head_of(1), nothing, payload).status(); });
  CHECK(ends.server->receive(soon())->head.id == 1);
  for (std::uint16_t id = 2; id < 50; ++id) {
    REQUIRE(ends.client->post(head_of(id), Flush::kNow, nothing).ok());
    CHECK(ends.server->receive(soon())->head.id == id);
  }
  ends.client->close({Code::kClosed, "enough"});
  sender.join();
  CHECK(sent.text() == "enough");
}

TEST_CASE("close wakes a thread that waits for a frame and one that waits for a payload") {
  Ends ends = over_each();
  Status frame, payload;
  WatchedThread receiver([&] { frame = ends.client->receive(Deadline::never()).status(); });
  WatchedThread reader([&] {
    std::array<std::byte, 8> room;
    payload = ends.client->bulk_read(room);
  });
  receiver.await_sleep();
  reader.await_sleep();
  ends.client->close({Code::kDenied, "over"});
  receiver.join();
  reader.join();
  CHECK(frame.text() == "over");
  CHECK(payload.text() == "over");
  CHECK(ends.server->receive(soon()).status().text() == "the peer ended the session: denied: over");
}

TEST_CASE("a stranger's bytes on a lane end the session") {
  Ends ends = over_sockets();
  const std::string request = "GET / HTTP/1.1\r\nHost: gpu1\r\n\r\n";
  REQUIRE(write_all(ends.calls.get(), std::as_bytes(std::span(request)), soon()).ok());
  CHECK(ends.server->receive(soon()).status().code() == Code::kMalformed);
  CHECK_FALSE(ends.server->closed().ok());
}

TEST_CASE("threads that post while another closes get the reason and nothing hangs") {
  Ends ends = over_each();
  std::vector<std::thread> threads;
  std::array<Status, 4> last;
  for (Status& mine : last) {
    threads.emplace_back([&] {
      const auto payload = pattern(10'000, 4);
      for (unsigned i = 0; mine.ok(); ++i) {
        mine =
            i % 7 == 0
                ? ends.client->post_bulk(head_of(1), nothing, payload).status()
                : ends.client
                      ->post(head_of(2), i % 2 ? Flush::kLater : Flush::kNow,
                             [&](wire::Writer& out) { out.bytes(payload.data(), payload.size()); })
                      .status();
      }
    });
  }
  for (int i = 0; i < 20; ++i) REQUIRE(ends.server->receive(soon()).ok());
  ends.client->close({Code::kDenied, "revoked"});
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : last) CHECK(status.text() == "revoked");
}

TEST_CASE("a lane within one host is not paced, whatever the host's default") {
  Fd listener = std::move(listen_tcp("127.0.0.1", 0)).value();
  Fd near = std::move(connect_tcp("127.0.0.1", bound_port(listener), soon())).value();
  auto lane = make_socket_carrier(std::move(near), -1);
  char control[16] = {};
  socklen_t bytes = sizeof(control) - 1;
  REQUIRE(::getsockopt(lane->fd(), IPPROTO_TCP, TCP_CONGESTION, control, &bytes) == 0);
  CHECK(std::string(control) == "reno");
}

TEST_CASE("a record that comes in pieces is waited for whole") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  Fd far(pair[1]);
  auto lane = make_socket_carrier(Fd(pair[0]), -1);
  const RecordHeader header{.length = 1000, .type = 2};
  std::vector<std::byte> record(limits::kRecordHeaderBytes + header.length, std::byte{7});
  std::memcpy(record.data(), &header, sizeof(header));
  std::thread slow([&] {
    for (std::byte each : record) {
      if (!write_all(far.get(), std::span(&each, 1), soon()).ok()) return;
    }
  });
  CHECK(lane->wait(soon()).ok());
  auto whole = lane->rx_peek();
  slow.join();
  REQUIRE(whole.ok());
  CHECK(std::vector<std::byte>(whole.value().begin(), whole.value().end()) == record);
  // Of the next one only half comes.
  REQUIRE(write_all(far.get(), std::span(record).first(500), soon()).ok());
  lane->rx_release();
  CHECK(lane->wait(Deadline::after(system_clock(), 20)).code() == Code::kTimeout);
}
