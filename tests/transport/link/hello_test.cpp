#include "transport/link/hello.h"

#include <doctest/doctest.h>

#include <array>
#include <span>

#include "transport/base/limits.h"
#include "transport/link/dial.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Room = std::array<std::byte, limits::kHelloBytesMax>;

ClientHello client_hello() {
  ClientHello hello;
  hello.strict = true;
  hello.table_fingerprint = 0x1122334455667788;
  hello.pid = 77;
  hello.version = "0.1.0";
  return hello;
}

}  // namespace

TEST_CASE("a client's hello survives the wire, and every truncation of it is refused") {
  Room room;
  Result<std::size_t> bytes = encode(client_hello(), room);
  REQUIRE(bytes.ok());
  Result<ClientHello> back = parse_client_hello(std::span(room).first(bytes.value()));
  REQUIRE(back.ok());
  CHECK(back->strict);
  CHECK(back->table_fingerprint == 0x1122334455667788);
  CHECK(back->pid == 77);
  CHECK(back->version == "0.1.0");
  for (std::size_t cut = 0; cut < bytes.value(); ++cut) {
    CHECK_FALSE(parse_client_hello(std::span(room).first(cut)).ok());
  }
  CHECK_FALSE(parse_client_hello(std::span(room).first(bytes.value() + 1)).ok());
}

TEST_CASE("a server's hello survives the wire, granted or not") {
  Room room;
  ServerHello hello;
  hello.granted = true;
  hello.session_id = make_session_id();
  hello.version = "0.1.0";
  Result<std::size_t> bytes = encode(hello, room);
  REQUIRE(bytes.ok());
  CHECK(parse_server_hello(std::span(room).first(bytes.value()))->session_id == hello.session_id);

  hello.granted = false;
  hello.refusal = Status(Code::kBusy, "all GPUs are taken; try later");
  bytes = encode(hello, room);
  Result<ServerHello> back = parse_server_hello(std::span(room).first(bytes.value()));
  REQUIRE(back.ok());
  CHECK(back->refusal.code() == Code::kBusy);
  CHECK(back->refusal.text() == "all GPUs are taken; try later");
  for (std::size_t cut = 0; cut < bytes.value(); ++cut) {
    CHECK_FALSE(parse_server_hello(std::span(room).first(cut)).ok());
  }
}

TEST_CASE("a hello that contradicts itself is refused") {
  Room room;
  ServerHello hello;
  hello.granted = true;
  hello.refusal = Status(Code::kDenied, "no");
  Result<std::size_t> bytes = encode(hello, room);
  CHECK(parse_server_hello(std::span(room).first(bytes.value())).status().code() ==
        Code::kMalformed);
}

TEST_CASE("a peer's text cannot carry control characters into a log") {
  Room room;
  ClientHello hello = client_hello();
  hello.version = "abc";
  Result<std::size_t> bytes = encode(hello, room);
  room[bytes.value() - 1] = std::byte{0x1b};
  CHECK(parse_client_hello(std::span(room).first(bytes.value()))->version == "ab?");
  hello.version = "\n";
  CHECK_FALSE(encode(hello, room).ok());
}

TEST_CASE("a mismatch names both values") {
  Status table = check_match(client_hello(), 0x99, "0.2.0");
  CHECK(table.code() == Code::kDenied);
  CHECK(table.text().find("0x1122334455667788 (Farcall 0.1.0)") != std::string::npos);
  CHECK(table.text().find("0x0000000000000099 (Farcall 0.2.0)") != std::string::npos);
  ClientHello later = client_hello();
  later.protocol = 9;
  Status protocol = check_match(later, later.table_fingerprint, "0.2.0");
  CHECK(protocol.text().find("protocol 9") != std::string::npos);
  CHECK(check_match(client_hello(), 0x1122334455667788, "0.2.0").ok());
}

TEST_CASE("a later protocol's hello is understood far enough to be refused politely") {
  Room room;
  ClientHello hello = client_hello();
  hello.protocol = 2;
  Result<std::size_t> bytes = encode(hello, room);
  Result<ClientHello> back = parse_client_hello(std::span(room).first(bytes.value() + 40));
  REQUIRE(back.ok());
  CHECK(back->protocol == 2);
}

TEST_CASE("a lane's hello is 22 bytes and nothing else") {
  LaneHello hello{kLaneBulk, make_session_id()};
  std::array<std::byte, kLaneHelloBytes> room;
  encode(hello, room);
  CHECK(room[0] == std::byte{'F'});
  CHECK(parse_lane_hello(room)->session_id == hello.session_id);
  for (std::size_t at : {std::size_t{0}, std::size_t{4}, std::size_t{5}}) {
    auto broken = room;
    broken[at] = std::byte{0x7f};
    CHECK(parse_lane_hello(broken).status().code() == Code::kMalformed);
  }
  CHECK_FALSE(parse_lane_hello(std::span(room).first(21)).ok());
}

TEST_CASE("a server is written host:port") {
  DialOptions options;
  REQUIRE(parse_server("gpu1:7717", &options).ok());
  CHECK(options.host == "gpu1");
  CHECK(options.port == 7717);
  REQUIRE(parse_server("[::1]:1", &options).ok());
  CHECK(options.host == "::1");
  for (const char* wrong : {"", "gpu1", "gpu1:", ":7717", "gpu1:0", "gpu1:65536", "gpu1:7a",
                            "::1:7717", "[]:7717", "gpu1:-1"}) {
    CHECK_MESSAGE(!parse_server(wrong, &options).ok(), wrong);
  }
}
