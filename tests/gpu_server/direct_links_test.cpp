// Two sessions of two servers, in this process: their links are made of socket pairs, the
// supervisors in between are this test.
#include "gpu_server/direct_links.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "transport/api/hand_direct.h"
#include "transport/base/limits_direct.h"
#include "transport/link/lanes.h"

using namespace farcall;
using namespace farcall::server;
namespace hand = farcall::api::hand;

namespace {

// The receiver's device.
struct Memory {
  static inline std::vector<std::byte> bytes;
  static api::Driver driver() {
    bytes.assign(8 << 20, std::byte{0});
    api::Driver driver;
    driver.cuMemcpyHtoD_v2 = [](CUdeviceptr to, const void* from, std::size_t count) {
      if (to > bytes.size() || count > bytes.size() - to) return CUDA_ERROR_INVALID_VALUE;
      std::memcpy(bytes.data() + to, from, count);
      return CUDA_SUCCESS;
    };
    driver.cuMemcpyDtoH_v2 = [](void* to, CUdeviceptr from, std::size_t count) {
      std::memcpy(to, bytes.data() + from, count);
      return CUDA_SUCCESS;
    };
    driver.cuStreamSynchronize = [](CUstream) { return CUDA_SUCCESS; };
    return driver;
  }
};

struct Ends {
  Fd a, b;
};
Ends pair() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// Both ends of a link, as the supervisors would hand them over.
struct Gifts {
  link::Handover reached, came;
};
Gifts make_link(const std::string& sender, const Ticket& ticket) {
  Gifts gifts;
  Ends calls = pair(), bulk = pair();
  gifts.reached.kind = link::HandoverKind::kPeerReached;
  gifts.reached.calls = std::move(calls.a);
  gifts.reached.bulk.push_back(std::move(bulk.a));
  gifts.came.kind = link::HandoverKind::kPeerCame;
  gifts.came.peer = sender;
  gifts.came.ticket = ticket;
  gifts.came.calls = std::move(calls.b);
  gifts.came.bulk.push_back(std::move(bulk.b));
  return gifts;
}

struct TwoSessions {
  const api::Driver driver = Memory::driver();
  int dials = 0;
  bool is_reachable = true;
  std::string shows = "a";  // the name in the sender's certificate
  DirectLinks receiver{driver, {"b", {"a"}, {}}, [](const link::PeerRequest&) { return ok(); }};
  DirectLinks sender{driver, {"a", {"b"}, {}}, [this](const link::PeerRequest& request) {
                       ++dials;
                       Gifts gifts = make_link(shows, request.ticket);
                       gifts.reached.number = request.number;
                       if (is_reachable) {
                         receiver.take(std::move(gifts.came));
                       } else {
                         gifts.reached.kind = link::HandoverKind::kPeerRefused;
                       }
                       sender.take(std::move(gifts.reached));
                       return ok();
                     }};
  TwoSessions() {
    receiver.bind_by([](std::uint64_t) { return CUDA_SUCCESS; });
  }
  Ticket expect(std::uint64_t address, std::uint64_t bytes, const std::string& from = "a") {
    auto ticket = receiver.tickets().expect({1, address, bytes, from});
    REQUIRE(ticket.ok());
    return ticket.value();
  }
  Outcome push(const Ticket& ticket, std::span<const std::byte> bytes) {
    auto none = [](std::span<std::byte>) { return ok(); };
    return sender.push({"b", {}, ticket, bytes.size()}, bytes, none);
  }
};

std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> made(bytes);
  for (std::size_t i = 0; i < bytes; ++i) made[i] = static_cast<std::byte>(i * 31 >> 3);
  return made;
}

bool lies_at(std::size_t address, std::span<const std::byte> bytes) {
  return std::equal(bytes.begin(), bytes.end(), Memory::bytes.begin() + static_cast<long>(address));
}

}  // namespace

TEST_CASE("bytes land where the receiver's ticket says, and one link serves many copies") {
  TwoSessions two;
  const auto bytes = pattern((3 << 20) + 7);
  for (std::uint64_t address : {100u, 4u << 20}) {
    const Ticket ticket = two.expect(address, bytes.size());
    CHECK(two.push(ticket, bytes) == Outcome::kDone);
    CHECK(two.receiver.tickets().settle(ticket) == Outcome::kDone);
    CHECK(lies_at(address, bytes));
  }
  CHECK(two.dials == 1);
  CHECK(Memory::bytes[99] == std::byte{0});
}

TEST_CASE("bytes may come piece by piece, and a sender's failure ends that copy only") {
  TwoSessions two;
  const auto bytes = pattern(1 << 20);
  std::size_t at = 0;
  bool fails = false;
  auto fill = [&](std::span<std::byte> room) -> Status {
    if (fails && at > 0) return Status::driver("copy", CUDA_ERROR_INVALID_VALUE);
    std::memcpy(room.data(), bytes.data() + at, room.size());
    at += room.size();
    return ok();
  };
  Ticket ticket = two.expect(0, bytes.size());
  CHECK(two.sender.push({"b", {}, ticket, bytes.size()}, {}, fill) == Outcome::kDone);
  CHECK(lies_at(0, bytes));
  CHECK(two.receiver.tickets().settle(ticket) == Outcome::kDone);
  at = 0;
  fails = true;
  ticket = two.expect(0, bytes.size());
  CHECK(two.sender.push({"b", {}, ticket, bytes.size()}, {}, fill) == Outcome::kFailed);
  CHECK(two.receiver.tickets().settle(ticket) != Outcome::kDone);
  ticket = two.expect(0, bytes.size());
  CHECK(two.push(ticket, bytes) == Outcome::kDone);  // over a new link
  CHECK(two.dials == 2);
}

TEST_CASE("a ticket that is replayed, foreign, edited or of other bytes lets nothing in") {
  TwoSessions two;
  const auto bytes = pattern(1000);
  const Ticket ticket = two.expect(0, bytes.size());
  REQUIRE(two.push(ticket, bytes) == Outcome::kDone);
  Memory::bytes.assign(Memory::bytes.size(), std::byte{0});
  const auto other = pattern(2000);
  CHECK(two.push(ticket, bytes) == Outcome::kRefused);
  CHECK(two.push(two.expect(0, 1000, "c"), bytes) == Outcome::kRefused);
  CHECK(two.push(two.expect(0, 1000), other) == Outcome::kRefused);
  Ticket edited = two.expect(0, 1000);
  edited[0] ^= std::byte{1};
  CHECK(two.push(edited, bytes) == Outcome::kRefused);
  CHECK(std::all_of(Memory::bytes.begin(), Memory::bytes.end(),
                    [](std::byte byte) { return byte == std::byte{0}; }));
  CHECK(two.push(two.expect(0, 1000), bytes) == Outcome::kDone);  // the link is none the worse
  CHECK(two.dials == 1);
}

TEST_CASE("a link opens for nobody without a good ticket and a name on the list") {
  TwoSessions two;
  const auto bytes = pattern(1000);
  SUBCASE("a name that is not on the list") { two.shows = "c"; }
  SUBCASE("nobody is reached") { two.is_reachable = false; }
  CHECK(two.push(two.expect(0, 1000), bytes) == Outcome::kNoLink);
  CHECK(two.sender.push({"c", {}, {}, 1000}, bytes, [](std::span<std::byte>) { return ok(); }) ==
        Outcome::kNotHere);
  two.shows = "a";
  two.is_reachable = true;
  CHECK(two.push(Ticket{}, bytes) == Outcome::kNoLink);  // no ticket at all
  CHECK(two.push(two.expect(0, 1000), bytes) == Outcome::kDone);
}

TEST_CASE("a sender that stops in the middle is broken off when its client gives up") {
  TwoSessions two;
  const Ticket ticket = two.expect(0, 1 << 20);
  Gifts gifts = make_link("a", ticket);
  two.receiver.take(std::move(gifts.came));
  const Deadline soon = Deadline::after(system_clock(), 10'000);
  auto lanes = link::lanes_of(gifts.reached, nullptr, soon);
  REQUIRE(lanes.ok());
  auto session =
      link::session_from_carriers(std::move(lanes).value(), {}, link::Role::kClient, soon);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  const wire::FrameHeader head{
      .id = hand::kDirectClaim.id, .flags = wire::kWantsReply, .thread = 1};
  REQUIRE(session.value()
              ->post(head, link::Flush::kNow,
                     [&](wire::Writer& out) {
                       out.put(hand::DirectClaim{ticket, 1 << 20});
                     })
              .ok());
  REQUIRE(session.value()->receive(soon).ok());
  // Claimed, and then nothing more.
  two.receiver.abandon(ticket);
  CHECK(two.receiver.tickets().settle(ticket) == Outcome::kNoLink);
  CHECK(session.value()->receive(soon).status().code() == Code::kClosed);
}

TEST_CASE("a server has one link to a session, and no number of them shuts others out") {
  const api::Driver driver = Memory::driver();
  DirectLinks receiver{
      driver, {"b", {"a", "c"}, {}}, [](const link::PeerRequest&) { return ok(); }};
  const Deadline soon = Deadline::after(system_clock(), 10'000);
  const auto open_from = [&](const std::string& name, const Ticket& ticket) {
    Gifts gifts = make_link(name, ticket);
    receiver.take(std::move(gifts.came));
    auto lanes = link::lanes_of(gifts.reached, nullptr, soon);
    REQUIRE(lanes.ok());
    auto session =
        link::session_from_carriers(std::move(lanes).value(), {}, link::Role::kClient, soon);
    REQUIRE_MESSAGE(session.ok(), session.status().to_string());
    return std::move(session).value();
  };
  const auto claim = [&](link::Session& session, const Ticket& ticket) {
    const wire::FrameHeader head{
        .id = hand::kDirectClaim.id, .flags = wire::kWantsReply, .thread = 1};
    auto ask = [&](wire::Writer& out) { out.put(hand::DirectClaim{ticket, 1000}); };
    REQUIRE(session.post(head, link::Flush::kNow, ask).ok());
    auto said = session.receive(soon);
    REQUIRE_MESSAGE(said.ok(), said.status().to_string());
    return wire::Reader(said->body).get<Outcome>();
  };
  const auto from_a = receiver.tickets().expect({1, 0, 1000, "a"});
  const auto from_c = receiver.tickets().expect({1, 0, 1000, "c"});
  REQUIRE(from_a.ok());
  REQUIRE(from_c.ok());
  auto last = open_from("a", from_a.value());
  CHECK(claim(*last, {}) == Outcome::kRefused);  // it is served by now
  for (std::size_t i = 0; i < limits::kDirectLinksMax; ++i) {
    auto newer = open_from("a", from_a.value());
    CHECK(claim(*newer, {}) == Outcome::kRefused);
    CHECK(last->receive(soon).status().code() == Code::kClosed);
    last = std::move(newer);
  }
  auto other = open_from("c", from_c.value());
  CHECK(claim(*other, from_c.value()) == Outcome::kDone);
}

TEST_CASE("what is no message between servers ends the link and nothing else") {
  TwoSessions two;
  const Ticket ticket = two.expect(0, 1000);
  Gifts gifts = make_link("a", ticket);
  two.receiver.take(std::move(gifts.came));
  const Deadline soon = Deadline::after(system_clock(), 10'000);
  auto lanes = link::lanes_of(gifts.reached, nullptr, soon);
  REQUIRE(lanes.ok());
  auto session =
      link::session_from_carriers(std::move(lanes).value(), {}, link::Role::kClient, soon);
  REQUIRE(session.ok());
  wire::FrameHeader head{.id = hand::kDirectLand.id, .flags = wire::kWantsReply, .thread = 1};
  std::uint64_t announced = 1000;
  SUBCASE("a call of a client") { head.id = 0x0501; }
  SUBCASE("bytes that nobody claimed") {}
  SUBCASE("a claim that is cut short") { head.id = hand::kDirectClaim.id; }
  REQUIRE(session.value()
              ->post(head, link::Flush::kNow, [&](wire::Writer& out) { out.put(announced); })
              .ok());
  CHECK_FALSE(session.value()->receive(soon).ok());
  CHECK(two.push(ticket, pattern(1000)) == Outcome::kDone);
}
