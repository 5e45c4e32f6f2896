// A session whose wire lies: every way to disturb a record ends the session, with nothing of it
// delivered.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <vector>

#include "transport/link/carrier.h"
#include "transport/link/session_parts.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Bytes = std::vector<std::byte>;
// Takes the records sent so far and the one being sent; returns what really goes out.
using Attack = std::function<std::vector<Bytes>(const std::vector<Bytes>& before, Bytes now)>;

// A carrier with an attacker on its sending side.
class AttackedCarrier final : public Carrier {
 public:
  AttackedCarrier(std::unique_ptr<Carrier> inner, Attack* attack)
      : inner_(std::move(inner)), attack_(attack) {}
  std::span<std::byte> tx_reserve(std::size_t bytes) override {
    now_.resize(bytes);
    return now_;
  }
  Status tx_commit(std::size_t) override {
    std::vector<Bytes> out = {now_};
    if (*attack_) out = (*attack_)(sent_, now_);
    sent_.push_back(now_);
    for (const Bytes& record : out) {
      std::memcpy(inner_->tx_reserve(record.size()).data(), record.data(), record.size());
      FARCALL_TRY(inner_->tx_commit(record.size()));
    }
    return ok();
  }
  bool tx_ready() override { return inner_->tx_ready(); }
  Result<std::span<const std::byte>> rx_peek() override { return inner_->rx_peek(); }
  void rx_release() override { inner_->rx_release(); }
  Status wait(Deadline deadline) override { return inner_->wait(deadline); }
  int fd() const override { return -1; }
  void close() override { inner_->close(); }
  void abandon() override { inner_->abandon(); }
  std::string describe() const override { return "attacked"; }

 private:
  std::unique_ptr<Carrier> inner_;
  Attack* attack_;
  Bytes now_;
  std::vector<Bytes> sent_;
};

struct Ends {
  std::unique_ptr<Session> client;
  std::unique_ptr<Session> server;
};

Deadline soon() { return Deadline::after(system_clock(), 5'000); }

Result<std::unique_ptr<Session>> start(Role role, std::unique_ptr<Carrier> calls,
                                       std::unique_ptr<Carrier> bulk) {
  SessionParts parts;
  parts.role = role;
  parts.calls = std::move(calls);
  parts.bulk = std::move(bulk);
  return SessionParts::start(std::move(parts));
}

// The client's two lanes are under attack once *attack is set. Keys are all zero: that they are
// known does not matter here.
Ends attacked(Attack* attack) {
  CarrierPair calls = make_loopback_carriers();
  CarrierPair bulk = make_loopback_carriers();
  Ends ends;
  ends.client =
      std::move(start(Role::kClient, std::make_unique<AttackedCarrier>(std::move(calls.a), attack),
                      std::make_unique<AttackedCarrier>(std::move(bulk.a), attack)))
          .value();
  ends.server = std::move(start(Role::kServer, std::move(calls.b), std::move(bulk.b))).value();
  REQUIRE(SessionParts::confirm(*ends.client, soon()).ok());
  REQUIRE(SessionParts::confirm(*ends.server, soon()).ok());
  return ends;
}

Status post(Session& session) {
  wire::FrameHeader head;
  head.id = 0x0101;
  return session.post(head, Flush::kNow, [](wire::Writer& out) { out.put(7); }).status();
}

// Sends two frames, the second under attack; what does the server make of it?
Status second_under(const Attack& chosen) {
  Attack attack;
  Ends ends = attacked(&attack);
  REQUIRE(post(*ends.client).ok());
  REQUIRE(ends.server->receive(soon()).ok());
  attack = chosen;
  REQUIRE(post(*ends.client).ok());
  Status seen = ends.server->receive(soon()).status();
  CHECK(ends.server->closed().code() == seen.code());
  CHECK_FALSE(post(*ends.server).ok());  // the session is over in both directions
  return seen;
}

}  // namespace

TEST_CASE("a flipped bit in a record ends the session") {
  CHECK(second_under([](const std::vector<Bytes>&, Bytes now) {
          now[20] ^= std::byte{1};
          return std::vector<Bytes>{now};
        }).code() == Code::kMalformed);
}

TEST_CASE("a replayed record ends the session") {
  CHECK(second_under([](const std::vector<Bytes>& before, Bytes) {
          return std::vector<Bytes>{before.back()};
        }).code() == Code::kMalformed);
}

TEST_CASE("an oversized record ends the session") {
  CHECK(second_under([](const std::vector<Bytes>&, Bytes now) {
          now[3] = std::byte{0x7f};
          return std::vector<Bytes>{now};
        }).code() == Code::kMalformed);
}

TEST_CASE("a truncated record ends the session") {
  CHECK(second_under([](const std::vector<Bytes>&, Bytes now) {
          now.pop_back();
          return std::vector<Bytes>{now};
        }).code() == Code::kMalformed);
}

TEST_CASE("records that change places end the session") {
  Bytes held;
  Attack attack;
  Ends ends = attacked(&attack);
  attack = [&](const std::vector<Bytes>&, Bytes now) {
    if (held.empty()) {
      held = now;
      return std::vector<Bytes>{};
    }
    return std::vector<Bytes>{now, held};
  };
  REQUIRE(post(*ends.client).ok());
  REQUIRE(post(*ends.client).ok());
  CHECK(ends.server->receive(soon()).status().code() == Code::kMalformed);
}

TEST_CASE("a disturbed payload ends the session and leaves nothing in the destination") {
  Attack attack;
  Ends ends = attacked(&attack);
  int records = 0;
  attack = [&](const std::vector<Bytes>&, Bytes now) {
    if (++records == 3) now.back() ^= std::byte{1};  // frame, first piece, second piece
    return std::vector<Bytes>{now};
  };
  const Bytes payload(300'000, std::byte{0x55});
  wire::FrameHeader head;
  head.id = 0x0210;
  REQUIRE(ends.client
              ->post_bulk(
                  head, [](wire::Writer&) {}, payload)
              .ok());
  REQUIRE(ends.server->receive(soon()).ok());
  Bytes room(payload.size(), std::byte{0xee});
  CHECK(ends.server->bulk_read(room).code() == Code::kMalformed);
  CHECK(std::count(room.begin(), room.end(), std::byte{0x55}) == 0);
  CHECK_FALSE(ends.server->closed().ok());
}

TEST_CASE("a lane whose peer has other keys does not come up") {
  CarrierPair calls = make_loopback_carriers();
  CarrierPair bulk = make_loopback_carriers();
  SessionParts other;
  other.keys.at(kLaneCalls, Direction::kToServer).key[0] = std::byte{1};
  other.role = Role::kClient;
  other.calls = std::move(calls.a);
  other.bulk = std::move(bulk.a);
  Result<std::unique_ptr<Session>> client = SessionParts::start(std::move(other));
  Result<std::unique_ptr<Session>> server =
      start(Role::kServer, std::move(calls.b), std::move(bulk.b));
  REQUIRE(client.ok());
  REQUIRE(server.ok());
  CHECK(SessionParts::confirm(*server.value(), soon()).code() == Code::kDenied);
}

TEST_CASE("the child of a fork drops the session without ending it for the parent") {
  int calls[2], bulk[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, calls) == 0);
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bulk) == 0);
  std::unique_ptr<Session> client =
      std::move(start(Role::kClient, make_socket_carrier(Fd(calls[0]), -1),
                      make_socket_carrier(Fd(bulk[0]), -1)))
          .value();
  std::unique_ptr<Session> server =
      std::move(start(Role::kServer, make_socket_carrier(Fd(calls[1]), -1),
                      make_socket_carrier(Fd(bulk[1]), -1)))
          .value();
  REQUIRE(SessionParts::confirm(*client, soon()).ok());
  REQUIRE(SessionParts::confirm(*server, soon()).ok());
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Session* mine = client.release();
    mine->abandon_in_child();
    const bool closed = ::write(calls[0], "x", 1) < 0 && ::write(bulk[0], "x", 1) < 0;
    ::_exit(closed ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  REQUIRE(post(*client).ok());
  CHECK(server->receive(soon()).ok());
}
