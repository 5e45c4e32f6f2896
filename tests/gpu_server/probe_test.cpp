#include <doctest/doctest.h>

#include <algorithm>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/link/compress.h"
#include "transport/link/engine.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

Bytes pattern(std::size_t bytes) {
  Bytes all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>(i * 7);
  return all;
}

Bytes echo_of(const Bytes& text) {
  Bytes asked = body(static_cast<std::uint32_t>(text.size()));
  asked.insert(asked.end(), text.begin(), text.end());
  return asked;
}

const std::uint16_t kFacts = row::probe_facts::info().id;
const std::uint16_t kEcho = row::probe_echo::info().id;
const std::uint16_t kSink = row::probe_sink::info().id;
const std::uint16_t kSource = row::probe_source::info().id;

TEST_CASE("the probe echoes, before anything was opened and up to its limit") {
  FakeDriver fake;
  ServedSession session(fake.table());
  for (std::size_t bytes : {std::size_t{0}, std::size_t{64}, limits::kProbeEchoBytesMax}) {
    Reply reply = session.ask(kEcho, echo_of(pattern(bytes)));
    CHECK(reply.status == CUDA_SUCCESS);
    CHECK(reply.answers == pattern(bytes));
  }
  CHECK(fake.contexts_alive == 0);
}

TEST_CASE("the probe tells which engine seals at the server's end") {
  FakeDriver fake;
  ServedSession session(fake.table());
  Reply reply = session.ask(kFacts, {});
  REQUIRE(reply.status == CUDA_SUCCESS);
  const auto facts = reply.get<hand::ProbeFacts>();
  CHECK(facts.engine == static_cast<std::uint32_t>(link::chosen_engine()));
  CHECK(facts.cores > 0);
  CHECK(facts.seal_64_ns > 0);
  CHECK(facts.seal_16k_ns > 0);
}

TEST_CASE("the probe takes a payload and answers after its last byte") {
  FakeDriver fake;
  ServedSession session(fake.table());
  const Bytes payload = pattern(3'000'000);
  const auto bytes = static_cast<std::uint64_t>(payload.size());
  REQUIRE(session.post_bulk(kSink, body(bytes), payload, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_SUCCESS);
  // The lane stands where it should: the next payload is taken whole, too.
  REQUIRE(session.post_bulk(kSink, body(bytes), payload, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_SUCCESS);
}

TEST_CASE("the probe sends as many bytes as asked for, which no compressor makes fewer") {
  FakeDriver fake;
  ServedSession session(fake.table());
  for (std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{700'000}}) {
    Reply reply = session.ask(kSource, body(bytes));
    REQUIRE(reply.status == CUDA_SUCCESS);
    CHECK(reply.get<std::uint64_t>() == bytes);
    CHECK((reply.head.flags & wire::kBulkFollows) != 0);
    Bytes got(bytes, std::byte{0xee});
    REQUIRE(session.client().bulk_read(got).ok());
    // The first record is of noise from its start.
    Bytes noise(std::min<std::size_t>(bytes, limits::kBulkFirstRecordBytes));
    link::fill_incompressible(noise);
    got.resize(noise.size());
    CHECK(got == noise);
  }
}

TEST_CASE("what was printed is sent before the payload, too") {
  FakeDriver fake;
  std::atomic<int> flushes{0};
  ServedSession session(fake.table(), [&] { ++flushes; });
  REQUIRE(session.ask(kSource, body(std::uint64_t{1})).status == CUDA_SUCCESS);
  CHECK(flushes.load() == 1);
}

TEST_CASE("a probe beyond its limits ends the session") {
  const std::uint64_t too_much = limits::kProbePayloadBytesMax + 1;
  const auto ends = [](std::uint16_t id, const Bytes& asked) {
    FakeDriver fake;
    ServedSession session(fake.table());
    REQUIRE(session.post(id, asked, 1, wire::kWantsReply).ok());
    return session.wait().code();
  };
  CHECK(ends(kEcho, echo_of(pattern(limits::kProbeEchoBytesMax + 1))) == Code::kMalformed);
  CHECK(ends(kEcho, body(std::uint32_t{8})) == Code::kMalformed);  // says more than it brings
  CHECK(ends(kSource, body(too_much)) == Code::kMalformed);
  CHECK(ends(kSink, body(too_much)) == Code::kMalformed);
  CHECK(ends(kFacts, pattern(1)) == Code::kMalformed);
}

TEST_CASE("a source that nobody waits for ends the session") {
  FakeDriver fake;
  ServedSession session(fake.table());
  REQUIRE(session.post(kSource, body(std::uint64_t{100})).ok());
  CHECK(session.wait().code() == Code::kMalformed);
}

}  // namespace
}  // namespace farcall::server
