#include "transport/link/compress.h"

#include <doctest/doctest.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "transport/base/limits.h"
#include "transport/link/acceptor.h"
#include "transport/link/session_parts.h"
#include "transport/link/socket.h"
#include "transport/link/stripes.h"

using namespace farcall;
using namespace farcall::link;

namespace {

using Bytes = std::vector<std::byte>;
constexpr unsigned char kUntouched = 0x77;

// Packs well, and no two records alike.
Bytes pattern(std::size_t bytes) {
  Bytes all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>((i / 64) & 0xff);
  return all;
}

Bytes noise(std::size_t bytes) {
  Bytes all(bytes);
  fill_incompressible(all);
  return all;
}

Bytes packed(std::span<const std::byte> plain) {
  Compressor compressor(Compress::kOn);
  const std::span<const std::byte> text = compressor.pack(plain);
  return Bytes(text.begin(), text.end());
}

Status unpack(std::span<const std::byte> text, Bytes* out) {
  Result<std::size_t> bytes = Decompressor::unpacked_bytes(text);
  if (!bytes.ok()) return bytes.status();
  out->assign(bytes.value(), std::byte{kUntouched});
  Decompressor decompressor;
  return decompressor.unpack(text, *out);
}

bool is_all(const Bytes& bytes, unsigned value) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [=](std::byte b) { return b == std::byte(value); });
}
bool is_wiped(const Bytes& bytes) { return is_all(bytes, 0); }

struct Ends {
  std::unique_ptr<Session> client, server;
};

Ends pair_of(Compress client, Compress server) {
  CarrierPair calls = make_loopback_carriers(), bulk = make_loopback_carriers();
  const auto start = [](Role role, std::unique_ptr<Carrier> call, std::unique_ptr<Carrier> payload,
                        Compress compress) {
    SessionParts parts;
    parts.role = role;
    parts.calls = std::move(call);
    parts.bulk = std::move(payload);
    parts.compress = compress;
    auto session = SessionParts::start(std::move(parts));
    REQUIRE(session.ok());
    return std::move(session).value();
  };
  Ends ends{start(Role::kClient, std::move(calls.a), std::move(bulk.a), client),
            start(Role::kServer, std::move(calls.b), std::move(bulk.b), server)};
  REQUIRE(SessionParts::confirm(*ends.client, Deadline::never()).ok());
  REQUIRE(SessionParts::confirm(*ends.server, Deadline::never()).ok());
  return ends;
}

Status send(Session& session, std::span<const std::byte> payload) {
  wire::FrameHeader head;
  head.id = 1;
  return session
      .post_bulk(
          head, [](wire::Writer&) {}, payload)
      .status();
}

}  // namespace

TEST_CASE("what is packed comes back, whatever its length, and takes less") {
  for (std::size_t bytes : {std::size_t{512}, std::size_t{4'097}, limits::kRecordBytesMax}) {
    const Bytes plain = pattern(bytes);
    const Bytes text = packed(plain);
    REQUIRE(!text.empty());
    CHECK(text.size() < plain.size() / 2);
    Bytes back;
    REQUIRE(unpack(text, &back).ok());
    CHECK(back == plain);
  }
}

TEST_CASE("what does not pack goes as it is, and so does what is short") {
  CHECK(packed(noise(limits::kRecordBytesMax)).empty());
  CHECK(packed(pattern(100)).empty());
}

TEST_CASE("a packed record that is cut, stretched, doubled or of another format is refused") {
  const Bytes plain = pattern(5'000);
  const Bytes text = packed(plain);
  Bytes out;
  for (std::size_t cut = 0; cut < text.size(); ++cut) {
    CHECK(unpack(std::span(text).first(cut), &out).code() == Code::kMalformed);
  }
  const auto with = [&](std::size_t at, std::uint32_t value) {
    Bytes changed = text;
    std::memcpy(changed.data() + at, &value, sizeof value);
    return changed;
  };
  for (std::uint32_t claim : {0u, 4'999u, 5'001u, 262'145u, 0xffffffffu}) {
    CHECK(unpack(with(0, claim), &out).code() == Code::kMalformed);
  }
  // The first version of zstd's format, and a frame that is to be skipped.
  for (std::uint32_t magic : {0xFD2FB51Eu, 0x184D2A50u, 0u}) {
    CHECK(unpack(with(4, magic), &out).code() == Code::kMalformed);
  }
  Bytes doubled = text;
  doubled.insert(doubled.end(), text.begin() + 4, text.end());
  const std::uint32_t twice = 10'000;
  std::memcpy(doubled.data(), &twice, sizeof twice);
  CHECK(unpack(doubled, &out).code() == Code::kMalformed);
}

TEST_CASE("what came out of a record that does not unpack is wiped") {
  Bytes text = packed(pattern(5'000));
  const std::uint32_t claim = 6'000;
  std::memcpy(text.data(), &claim, sizeof claim);
  Bytes out;
  CHECK_FALSE(unpack(text, &out).ok());
  CHECK(is_wiped(out));
}

TEST_CASE("a changed byte never unpacks to more than was claimed, nor breaks anything") {
  const Bytes text = packed(pattern(5'000));
  for (std::size_t at = 4; at < text.size(); ++at) {
    Bytes changed = text;
    changed[at] ^= std::byte{0x41};
    Bytes out;
    const Status done = unpack(changed, &out);
    CHECK((done.ok() || is_wiped(out) || is_all(out, kUntouched)));
  }
}

TEST_CASE("auto packs where the link is slower than the compressor, and only while it gains") {
  CompressChoice choice(Compress::kAuto);
  CHECK_FALSE(choice.should_try());  // nothing is known of the link
  choice.sent(8 << 20, 8 << 18);     // a quarter of a nanosecond a byte: fast
  CHECK_FALSE(choice.should_try());
  choice.sent(8 << 20, 10 * (8 << 20));  // 100 MB/s
  CHECK(choice.should_try());
  choice.packed(4 << 20, 1 << 20, 2 * (4 << 20));  // 2 and 10/4 are less than 10
  CHECK(choice.should_try());
  choice.packed(8 << 20, 8 << 20, 2 * (8 << 20));  // payload that does not pack
  unsigned tried = 0;
  for (int i = 0; i < 640; ++i) {
    if (!choice.should_try()) continue;
    ++tried;
    choice.packed(8 << 20, 8 << 20, 2 * (8 << 20));
  }
  CHECK(tried > 5);
  CHECK(tried < 20);
  // A compressor that takes longer than it saves.
  CompressChoice slow(Compress::kAuto);
  slow.sent(8 << 20, 4 * (8 << 20));
  REQUIRE(slow.should_try());
  slow.packed(8 << 20, 4 << 20, 5 * (8 << 20));  // 5 is more than 4
  CHECK_FALSE(slow.should_try());
}

TEST_CASE("auto does not take a link for fast because packing filled the time") {
  CompressChoice choice(Compress::kAuto);
  choice.sent(8 << 20, 10 * (8 << 20));
  for (int i = 0; i < 100; ++i) {
    REQUIRE(choice.should_try());
    // Packing takes 8 of the 10 ns that the wire needs for each byte it gets.
    choice.packed(8 << 20, 4 << 20, 4 * (8 << 20));
    choice.sent(4 << 20, 2 * (4 << 20));
  }
}

TEST_CASE("auto believes the kernel about a slow link, before its buffers are full") {
  CompressChoice choice(Compress::kAuto);
  choice.sent(64 << 10, 16 << 10, 10.0);
  CHECK(choice.should_try());
  for (int i = 0; i < 1'000; ++i) choice.sent(64 << 10, 16 << 10, 0.2);
  CHECK_FALSE(choice.should_try());
}

TEST_CASE("a connection's rate is believed when it was always busy, and only then") {
  tcp_info said{};
  CHECK(delivery_ns_per_byte(said) == 0);
  said.tcpi_delivery_rate = 10'000'000;
  CHECK(delivery_ns_per_byte(said) == doctest::Approx(100));
  said.tcpi_delivery_rate_app_limited = 1;
  CHECK(delivery_ns_per_byte(said) == 0);
  // A connection that has carried nothing, and what is no connection.
  Result<Fd> listener = listen_tcp("127.0.0.1", 0);
  REQUIRE(listener.ok());
  Result<Fd> near = connect_tcp("127.0.0.1", bound_port(listener.value()),
                                Deadline::after(system_clock(), 20'000));
  REQUIRE(near.ok());
  CHECK(delivery_ns_per_byte(near.value().get()) == 0);
  CHECK(round_trip_us(near.value().get()) >= 0);
  CHECK(delivery_ns_per_byte(-1) == 0);
}

TEST_CASE("off never tries, on always does where it gains") {
  CompressChoice off(Compress::kOff), on(Compress::kOn);
  off.sent(8 << 20, 100 * (8 << 20));
  CHECK_FALSE(off.should_try());
  for (int i = 0; i < 100; ++i) {
    REQUIRE(on.should_try());
    on.packed(4'096, 1'000, 1'000'000);
  }
}

TEST_CASE("payloads cross packed, are read in pieces of any size, and cost fewer bytes") {
  Ends ends = pair_of(Compress::kOn, Compress::kOn);
  const Bytes plain = pattern(1'000'000), hard = noise(700'000);
  for (const Bytes* payload : {&plain, &hard, &plain}) {
    REQUIRE(send(*ends.client, *payload).ok());
    REQUIRE(ends.server->receive(Deadline::never()).ok());
    Bytes got(payload->size());
    for (std::size_t at = 0; at < got.size();) {
      const std::size_t bytes = std::min<std::size_t>(got.size() - at, at % 3 == 0 ? 300'001 : 777);
      REQUIRE(ends.server->bulk_read(std::span(got).subspan(at, bytes)).ok());
      at += bytes;
    }
    CHECK(got == *payload);
  }
  const LinkStats out = ends.client->stats(), in = ends.server->stats();
  CHECK(out.bulk_bytes_out == 2'700'000);
  CHECK(in.bulk_bytes_in == 2'700'000);
  CHECK(out.bulk_wire_bytes_out < 1'000'000);
  CHECK(in.bulk_wire_bytes_in == out.bulk_wire_bytes_out);
  CHECK(ends.client->describe().find(", compressed") != std::string::npos);
}

TEST_CASE("a payload that was packed and is called off leaves the lane whole") {
  Ends ends = pair_of(Compress::kOn, Compress::kOn);
  const Bytes plain = pattern(400'000);
  std::size_t asked = 0;
  const auto fill = [&](std::span<std::byte> room) {
    std::memcpy(room.data(), plain.data(), room.size());
    asked += room.size();
    return asked > 200'000 ? Status::driver("no more", 700) : ok();
  };
  wire::FrameHeader head;
  head.id = 1;
  CHECK(ends.client
            ->post_bulk_from(
                head, [](wire::Writer&) {}, 1'000'000, fill)
            .status()
            .code() == Code::kDriver);
  REQUIRE(send(*ends.client, plain).ok());
  Bytes got(1'000'000);
  REQUIRE(ends.server->receive(Deadline::never()).ok());
  CHECK(ends.server->bulk_read(got).code() == Code::kDriver);
  CHECK(is_wiped(Bytes(got.begin(), got.begin() + 64 * 1024)));
  got.resize(plain.size());
  REQUIRE(ends.server->receive(Deadline::never()).ok());
  REQUIRE(ends.server->bulk_read(got).ok());
  CHECK(got == plain);
}

TEST_CASE("a packed record where none was agreed to ends the session") {
  Ends ends = pair_of(Compress::kOn, Compress::kOff);
  REQUIRE(send(*ends.client, pattern(100'000)).ok());
  REQUIRE(ends.server->receive(Deadline::never()).ok());
  Bytes got(100'000);
  CHECK(ends.server->bulk_read(got).code() == Code::kMalformed);
  CHECK(ends.server->closed().code() == Code::kMalformed);
}
