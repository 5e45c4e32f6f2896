#include "transport/link/hello.h"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "transport/base/limits.h"
#include "transport/base/limits_token.h"
#include "transport/link/dial.h"
#include "transport/link/stripes.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Room = std::array<std::byte, limits::kHelloBytesMax>;

// Bytes of a client's hello behind its version text.
constexpr std::size_t kAfterVersion = sizeof(CarrierSet) + 1 + 4 + sizeof(std::uint16_t);

ClientHello client_hello() {
  ClientHello hello;
  hello.table_fingerprint = 0x1122334455667788;
  hello.pid = 77;
  hello.version = "0.1.0";
  hello.carriers = only(CarrierKind::kTcp) | only(CarrierKind::kRdma);
  hello.stripes = 5;
  hello.floors = {LaneFloor{Cipher::kAes256Gcm, 30}, LaneFloor{Cipher::kAes128Gcm, 24}};
  return hello;
}

}  // namespace

TEST_CASE("a client's hello survives the wire, and every truncation of it is refused") {
  Room room;
  Result<std::size_t> bytes = encode(client_hello(), room);
  REQUIRE(bytes.ok());
  Result<ClientHello> back = parse_client_hello(std::span(room).first(bytes.value()));
  REQUIRE(back.ok());
  CHECK(back->table_fingerprint == 0x1122334455667788);
  CHECK(back->pid == 77);
  CHECK(back->version == "0.1.0");
  CHECK(names_of(back->carriers) == "tcp, rdma");
  CHECK(back->stripes == 5);
  CHECK(back->floors == client_hello().floors);
  for (std::size_t cut = 0; cut < bytes.value(); ++cut) {
    CHECK_FALSE(parse_client_hello(std::span(room).first(cut)).ok());
  }
  CHECK_FALSE(parse_client_hello(std::span(room).first(bytes.value() + 1)).ok());
}

TEST_CASE("a lease travels in the client's hello, and one that is too long does not") {
  Room room;
  ClientHello hello = client_hello();
  hello.lease.assign(limits::kLeaseBytesMax, std::byte{7});
  Result<std::size_t> bytes = encode(hello, room);
  REQUIRE(bytes.ok());
  Result<ClientHello> back = parse_client_hello(std::span(room).first(bytes.value()));
  REQUIRE(back.ok());
  CHECK(back->lease == hello.lease);
  for (std::size_t cut = 0; cut < bytes.value(); ++cut) {
    CHECK_FALSE(parse_client_hello(std::span(room).first(cut)).ok());
  }
  // The same with one byte more, as only another client could say it.
  const std::size_t length_at = bytes.value() - hello.lease.size() - sizeof(std::uint16_t);
  const auto longer = static_cast<std::uint16_t>(limits::kLeaseBytesMax + 1);
  std::memcpy(room.data() + length_at, &longer, sizeof longer);
  CHECK_FALSE(parse_client_hello(std::span(room).first(bytes.value() + 1)).ok());
  hello.lease.resize(limits::kLeaseBytesMax + 1);
  CHECK_FALSE(encode(hello, room).ok());
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

TEST_CASE("a grant says what the lanes run over and where they are") {
  Room room;
  ServerHello hello;
  hello.granted = true;
  hello.offer = {CarrierKind::kShm, "@farcall-77"};
  Result<std::size_t> bytes = encode(hello, room);
  Result<ServerHello> back = parse_server_hello(std::span(room).first(bytes.value()));
  REQUIRE(back.ok());
  CHECK(back->offer.kind == CarrierKind::kShm);
  CHECK(back->offer.place == "@farcall-77");
  for (std::size_t cut = 0; cut < bytes.value(); ++cut) {
    CHECK_FALSE(parse_server_hello(std::span(room).first(cut)).ok());
  }
  // A place is dialled: one that is missing, not asked for or not printable ends it.
  const CarrierOffer wrong[] = {{CarrierKind::kShm, ""}, {CarrierKind::kTcp, "elsewhere:1"}};
  for (const CarrierOffer& offer : wrong) {
    hello.offer = offer;
    bytes = encode(hello, room);
    CHECK_FALSE(parse_server_hello(std::span(room).first(bytes.value())).ok());
  }
  hello.offer = {CarrierKind::kRdma, "host:1"};
  bytes = encode(hello, room);
  room[bytes.value() - 6] = std::byte{0x0a};  // the last of the place
  CHECK_FALSE(parse_server_hello(std::span(room).first(bytes.value())).ok());
  hello.offer.place.assign(kPlaceBytesMax + 1, 'x');
  CHECK_FALSE(encode(hello, room).ok());
}

TEST_CASE("a client that wants no carrier, or one nobody knows, is refused") {
  Room room;
  for (CarrierSet wrong : {CarrierSet{0}, CarrierSet{8}, CarrierSet{0x8001}}) {
    ClientHello hello = client_hello();
    hello.carriers = wrong;
    Result<std::size_t> bytes = encode(hello, room);
    CHECK(parse_client_hello(std::span(room).first(bytes.value())).status().code() ==
          Code::kMalformed);
  }
}

TEST_CASE("connections for payloads are one or a few, and more than one for tcp only") {
  Room room;
  for (std::size_t wrong : {std::size_t{0}, limits::kStripesMax + 1, std::size_t{255}}) {
    ClientHello hello = client_hello();
    hello.stripes = static_cast<std::uint8_t>(wrong);
    Result<std::size_t> bytes = encode(hello, room);
    CHECK(parse_client_hello(std::span(room).first(bytes.value())).status().code() ==
          Code::kMalformed);
  }
  struct {
    CarrierOffer offer;
    bool good;
  } const offers[] = {{{CarrierKind::kTcp, "", 1}, true},
                      {{CarrierKind::kTcp, "", limits::kStripesMax}, true},
                      {{CarrierKind::kTcp, "", 0}, false},
                      {{CarrierKind::kTcp, "", limits::kStripesMax + 1}, false},
                      {{CarrierKind::kShm, "@x", 2}, false},
                      {{CarrierKind::kRdma, "host:1", 2}, false}};
  for (const auto& [offer, good] : offers) {
    ServerHello hello;
    hello.granted = true;
    hello.offer = offer;
    Result<std::size_t> bytes = encode(hello, room);
    Result<ServerHello> back = parse_server_hello(std::span(room).first(bytes.value()));
    CHECK(back.ok() == good);
    if (good) CHECK(back->offer.stripes == offer.stripes);
  }
}

TEST_CASE("compression is asked for and granted, or is not there") {
  Room room;
  for (Compress wish : {Compress::kOff, Compress::kAuto, Compress::kOn}) {
    ClientHello hello = client_hello();
    hello.compress = wish;
    Result<std::size_t> bytes = encode(hello, room);
    Result<ClientHello> back = parse_client_hello(std::span(room).first(bytes.value()));
    REQUIRE(back.ok());
    CHECK(back->compress == wish);
  }
  Result<std::size_t> bytes = encode(client_hello(), room);
  room[6] |= std::byte{6};  // auto and on at once
  CHECK_FALSE(parse_client_hello(std::span(room).first(bytes.value())).ok());
  for (bool compress : {false, true}) {
    ServerHello granted;
    granted.granted = true;
    granted.offer.compress = compress;
    bytes = encode(granted, room);
    Result<ServerHello> back = parse_server_hello(std::span(room).first(bytes.value()));
    REQUIRE(back.ok());
    CHECK(back->offer.compress == compress);
    room[6] = std::byte{2};  // compressed, but not granted
    CHECK_FALSE(parse_server_hello(std::span(room).first(bytes.value())).ok());
  }
  DialOptions options;
  REQUIRE(parse_compress("auto", &options).ok());
  CHECK(options.compress == Compress::kAuto);
  REQUIRE(parse_compress("", &options).ok());
  CHECK(options.compress == Compress::kOff);
  CHECK(parse_compress("yes", &options).code() == Code::kUnsupported);
}

TEST_CASE("a far server gets more connections, and a word may ask for a number of them") {
  CHECK(stripes_for(-1) == 1);
  CHECK(stripes_for(0) == 1);
  CHECK(stripes_for(600) == 1);
  CHECK(stripes_for(1'000) == 2);
  CHECK(stripes_for(5'000) == limits::kStripesMax);
  CHECK(stripes_for(INT64_MAX) == limits::kStripesMax);
  DialOptions options;
  options.stripes = 7;
  REQUIRE(parse_stripes("auto", &options).ok());
  CHECK(options.stripes == 0);
  REQUIRE(parse_stripes("4", &options).ok());
  CHECK(options.stripes == 4);
  REQUIRE(parse_stripes("", &options).ok());
  CHECK(options.stripes == 0);
  for (const char* wrong : {"0", "9", "-1", "4x", " 4", "many", "99999999999999999999"}) {
    CHECK_MESSAGE(parse_stripes(wrong, &options).code() == Code::kUnsupported, wrong);
  }
}

TEST_CASE("carriers have names, and the fastest that both ends have is chosen") {
  CHECK(parse_carriers("tcp,rdma").value() == (only(CarrierKind::kTcp) | only(CarrierKind::kRdma)));
  CHECK(parse_carriers("tcp,shm,rdma").value() == kAllCarriers);
  for (const char* wrong : {"", "udp", "tcp,", "tcp, shm", "tcp,,shm", "TCP"}) {
    const bool is_trailing_comma = std::string_view(wrong) == "tcp,";
    CHECK_MESSAGE(parse_carriers(wrong).ok() == is_trailing_comma, wrong);
  }
  CHECK(best_carrier(kAllCarriers) == CarrierKind::kShm);
  CHECK(best_carrier(without(kAllCarriers, CarrierKind::kShm)) == CarrierKind::kRdma);
  CHECK(best_carrier(only(CarrierKind::kTcp)) == CarrierKind::kTcp);
  CHECK_FALSE(best_carrier(0).has_value());
  CHECK(names_of(0) == "none");
}

TEST_CASE("a peer's text cannot carry control characters into a log") {
  Room room;
  ClientHello hello = client_hello();
  hello.version = "abc";
  Result<std::size_t> bytes = encode(hello, room);
  room[bytes.value() - 1 - kAfterVersion] = std::byte{0x1b};
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

TEST_CASE("another protocol's hello is understood far enough to be refused politely") {
  Room room;
  ClientHello hello = client_hello();
  hello.protocol = kProtocolVersion + 1;
  Result<std::size_t> bytes = encode(hello, room);
  Result<ClientHello> later = parse_client_hello(std::span(room).first(bytes.value() + 40));
  REQUIRE(later.ok());
  CHECK(later->protocol == kProtocolVersion + 1);
  // Protocol 1 ended with the version text.
  hello.protocol = 1;
  bytes = encode(hello, room);
  Result<ClientHello> earlier =
      parse_client_hello(std::span(room).first(bytes.value() - kAfterVersion));
  REQUIRE(earlier.ok());
  CHECK(earlier->version == "0.1.0");
}

TEST_CASE("a lane's hello is 22 bytes and nothing else") {
  LaneHello hello{kFirstBulkConnection + limits::kStripesMax - 1, make_session_id()};
  std::array<std::byte, kLaneHelloBytes> room;
  encode(hello, room);
  CHECK(room[0] == std::byte{'F'});
  CHECK(parse_lane_hello(room)->session_id == hello.session_id);
  CHECK(parse_lane_hello(room)->connection == hello.connection);
  for (std::size_t at : {std::size_t{0}, std::size_t{4}, std::size_t{5}}) {
    auto broken = room;
    broken[at] = std::byte{0x7f};
    CHECK(parse_lane_hello(broken).status().code() == Code::kMalformed);
  }
  CHECK_FALSE(parse_lane_hello(std::span(room).first(21)).ok());
  room[5] = static_cast<std::byte>(hello.connection + 1);
  CHECK_FALSE(parse_lane_hello(room).ok());
}

TEST_CASE("a server is written host:port") {
  DialOptions options;
  REQUIRE(parse_server("gpu1:7717", &options).ok());
  CHECK(options.host == "gpu1");
  CHECK(options.port == 7717);
  REQUIRE(parse_server("[::1]:1", &options).ok());
  CHECK(options.host == "::1");
  CHECK_FALSE(options.carrier.has_value());
  REQUIRE(parse_server("shm://[::1]:7", &options).ok());
  CHECK(options.carrier == CarrierKind::kShm);
  CHECK(options.host == "::1");
  REQUIRE(parse_server("rdma://gpu1:7717", &options).ok());
  CHECK(options.carrier == CarrierKind::kRdma);
  REQUIRE(parse_server("gpu1:7717", &options).ok());
  CHECK_FALSE(options.carrier.has_value());
  for (const char* wrong :
       {"", "gpu1", "gpu1:", ":7717", "gpu1:0", "gpu1:65536", "gpu1:7a", "::1:7717", "[]:7717",
        "gpu1:-1", "udp://gpu1:7717", "://gpu1:7717", "tcp://", "tcp:gpu1:7717"}) {
    CHECK_MESSAGE(!parse_server(wrong, &options).ok(), wrong);
  }
}
