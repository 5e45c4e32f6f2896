#include "transport/link/peer.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "transport/base/limits.h"

using namespace farcall;
using namespace farcall::link;

namespace {

PeerHello some_hello() {
  PeerHello hello;
  hello.table_fingerprint = 0x1234;
  hello.version = "0.1";
  hello.session = make_session_id();
  hello.ticket[5] = std::byte{7};
  return hello;
}

}  // namespace

TEST_CASE("a server's hello is read as it was written, and not a byte shorter or longer") {
  std::vector<std::byte> room(limits::kHelloBytesMax);
  const PeerHello hello = some_hello();
  Result<std::size_t> bytes = encode(hello, room);
  REQUIRE(bytes.ok());
  auto back = parse_peer_hello(std::span(room).first(bytes.value()));
  REQUIRE(back.ok());
  CHECK(back->session == hello.session);
  CHECK(back->ticket == hello.ticket);
  CHECK(back->version == "0.1");
  for (std::size_t cut = 0; cut < bytes.value(); ++cut) {
    CHECK(parse_peer_hello(std::span(room).first(cut)).status().code() == Code::kMalformed);
  }
  CHECK_FALSE(parse_peer_hello(std::span(room).first(bytes.value() + 1)).ok());
  room[0] ^= std::byte{1};
  CHECK_FALSE(parse_peer_hello(std::span(room).first(bytes.value())).ok());
}

TEST_CASE("a place of another server is a name and an address") {
  auto both = parse_peer("gpu2@10.0.0.2:7717");
  REQUIRE(both.ok());
  CHECK(both->name == "gpu2");
  CHECK(both->host == "10.0.0.2");
  CHECK(both->port == 7717);
  auto one = parse_peer("gpu2.lab:7717");
  REQUIRE(one.ok());
  CHECK(one->name == "gpu2.lab");
  for (const char* wrong : {"", "gpu2", "@gpu2:1", "a b@gpu2:1", "gpu2@gpu2", "tcp://gpu2:1",
                            "gpu2@gpu2:0", "gpu2@[::1]"}) {
    CHECK_MESSAGE(parse_peer(wrong).status().code() == Code::kUnsupported, wrong);
  }
}

TEST_CASE("a worker's request reaches its supervisor, and nothing else does") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd worker(ends[0]), supervisor(ends[1]);
  const Deadline soon = Deadline::after(system_clock(), 10'000);
  PeerRequest request;
  request.number = 3;
  request.receiver = "gpu2";
  request.session = make_session_id();
  request.ticket[0] = std::byte{9};
  REQUIRE(send_peer_request(worker.get(), request).ok());
  auto got = receive_peer_request(supervisor.get(), soon);
  REQUIRE(got.ok());
  CHECK(got->number == 3);
  CHECK(got->receiver == "gpu2");
  CHECK(got->session == request.session);
  CHECK(got->ticket == request.ticket);
  request.receiver = "gpu 2";  // no name that a certificate could have
  REQUIRE(send_peer_request(worker.get(), request).ok());
  CHECK(receive_peer_request(supervisor.get(), soon).status().code() == Code::kMalformed);
  request.receiver.assign(kPeerNameBytesMax + 1, 'x');
  CHECK(send_peer_request(worker.get(), request).code() == Code::kOverQuota);
  const std::vector<char> junk(128, 'x');
  REQUIRE(::write(worker.get(), junk.data(), junk.size()) == 128);
  CHECK(receive_peer_request(supervisor.get(), soon).status().code() == Code::kMalformed);
  worker.reset();
  CHECK(receive_peer_request(supervisor.get(), soon).status().code() == Code::kClosed);
}
