#include "transport/link/handover.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "transport/base/limits.h"

using namespace farcall;
using namespace farcall::link;

namespace {

struct Pair {
  Fd a, b;
};

Pair socket_pair(int type) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

Handover gift_of(Pair& lanes) {
  Handover gift;
  gift.session_id = make_session_id();
  gift.keys.at(kLaneBulk, Direction::kToClient).key[31] = std::byte{0x5a};
  gift.calls = std::move(lanes.a);
  gift.bulk.push_back(std::move(lanes.b));
  gift.compress = Compress::kAuto;
  return gift;
}

Deadline soon() { return Deadline::after(system_clock(), 5'000); }

}  // namespace

TEST_CASE("a session crosses a socket pair of either kind, descriptors and all") {
  for (int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    Pair way = socket_pair(type);
    Pair lanes = socket_pair(SOCK_STREAM);
    Handover gift = gift_of(lanes);
    REQUIRE(send_session(way.a.get(), gift).ok());
    Result<Handover> got = receive_session(way.b.get(), soon());
    REQUIRE_MESSAGE(got.ok(), got.status().to_string());
    CHECK(got->session_id == gift.session_id);
    CHECK(got->keys.at(kLaneBulk, Direction::kToClient).key[31] == std::byte{0x5a});
    CHECK(got->compress == Compress::kAuto);
    CHECK((::fcntl(got->calls.get(), F_GETFD) & FD_CLOEXEC) != 0);
    // The copies are the same sockets: what goes in at one end comes out at the other.
    REQUIRE(::write(got->calls.get(), "x", 1) == 1);
    char seen = 0;
    REQUIRE(::read(gift.bulk[0].get(), &seen, 1) == 1);
    CHECK(seen == 'x');
  }
}

TEST_CASE("a supervisor that is gone, silent or confused is told apart") {
  Pair way = socket_pair(SOCK_STREAM);
  CHECK(receive_session(way.b.get(), Deadline::after(system_clock(), 1)).status().code() ==
        Code::kTimeout);
  const std::string junk(384, 'j');
  REQUIRE(::write(way.a.get(), junk.data(), junk.size()) == 384);
  CHECK(receive_session(way.b.get(), soon()).status().code() == Code::kMalformed);
  way.a.reset();
  CHECK(receive_session(way.b.get(), soon()).status().code() == Code::kClosed);
}

TEST_CASE("a session whose lanes come by themselves crosses without descriptors") {
  Pair way = socket_pair(SOCK_STREAM);
  Pair lanes = socket_pair(SOCK_STREAM);
  Handover gift = gift_of(lanes);
  gift.carrier = CarrierKind::kRdma;
  REQUIRE(send_session(way.a.get(), gift).ok());
  Result<Handover> got = receive_session(way.b.get(), soon());
  REQUIRE_MESSAGE(got.ok(), got.status().to_string());
  CHECK(got->carrier == CarrierKind::kRdma);
  CHECK_FALSE(got->calls);
  CHECK(got->bulk.empty());
}

TEST_CASE("as many connections as a session may have cross, in their order, and no more") {
  Pair way = socket_pair(SOCK_STREAM);
  Pair lanes = socket_pair(SOCK_STREAM);
  Handover gift = gift_of(lanes);
  std::vector<Fd> far;
  far.emplace_back();
  while (gift.bulk.size() < limits::kStripesMax) {
    Pair stripe = socket_pair(SOCK_STREAM);
    gift.bulk.push_back(std::move(stripe.a));
    far.push_back(std::move(stripe.b));
  }
  REQUIRE(send_session(way.a.get(), gift).ok());
  Result<Handover> got = receive_session(way.b.get(), soon());
  REQUIRE_MESSAGE(got.ok(), got.status().to_string());
  REQUIRE(got->bulk.size() == limits::kStripesMax);
  for (std::size_t i = 1; i < far.size(); ++i) {
    const char number = static_cast<char>(i);
    REQUIRE(::write(got->bulk[i].get(), &number, 1) == 1);
    char seen = 0;
    REQUIRE(::read(far[i].get(), &seen, 1) == 1);
    CHECK(seen == number);
  }
  gift.bulk.emplace_back(::dup(gift.bulk[0].get()));
  CHECK(send_session(way.a.get(), gift).code() == Code::kOverQuota);
}

TEST_CASE("a session that says it has lanes which did not come along is refused") {
  Pair way = socket_pair(SOCK_STREAM);
  Pair lanes = socket_pair(SOCK_STREAM);
  Handover gift = gift_of(lanes);
  gift.bulk.clear();  // no payload lane
  REQUIRE(send_session(way.a.get(), gift).ok());
  CHECK(receive_session(way.b.get(), soon()).status().code() == Code::kMalformed);
}

TEST_CASE("a worker's place, or its reason for having none, reaches the supervisor") {
  Pair way = socket_pair(SOCK_STREAM);
  REQUIRE(send_place(way.a.get(), std::string("10.0.0.2:41234")).ok());
  CHECK(receive_place(way.b.get(), soon()).value() == "10.0.0.2:41234");
  REQUIRE(send_place(way.a.get(), Status(Code::kUnsupported, std::string(4'000, 'x'))).ok());
  Status why = receive_place(way.b.get(), soon()).status();
  CHECK(why.code() == Code::kUnsupported);
  CHECK(why.text().size() > 100);
  const std::string junk(512, '\xff');
  REQUIRE(::write(way.a.get(), junk.data(), junk.size()) == 512);
  CHECK(receive_place(way.b.get(), soon()).status().code() == Code::kMalformed);
  way.a.reset();
  CHECK(receive_place(way.b.get(), soon()).status().code() == Code::kClosed);
}

TEST_CASE("a worker that is gone is noticed") {
  Pair way = socket_pair(SOCK_STREAM);
  Pair lanes = socket_pair(SOCK_STREAM);
  way.b.reset();
  CHECK(send_session(way.a.get(), gift_of(lanes)).code() == Code::kClosed);
}

TEST_CASE("keys that were moved away are no longer here") {
  SessionKeys keys;
  keys.at(kLaneCalls, Direction::kToServer).key[0] = std::byte{7};
  SessionKeys taken = std::move(keys);
  CHECK(taken.at(kLaneCalls, Direction::kToServer).key[0] == std::byte{7});
  CHECK(keys.at(kLaneCalls, Direction::kToServer).key[0] == std::byte{0});
}
