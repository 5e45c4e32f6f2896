// Copies between client and device, small and large, over a fake device's memory.
#include <doctest/doctest.h>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "tests/support/switched.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

Bytes pattern(std::size_t count, unsigned seed) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>((i * 31 + seed) >> 3);
  return bytes;
}

hand::CopyToDevice copy_in(std::uint64_t bytes, std::uint64_t offset = 0) {
  return {.payload_bytes = bytes, .dst = FakeDriver::kBase + offset, .stream = 0};
}

Reply open(ServedSession& session) {
  return session.ask(row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0}));
}

Reply read_back(ServedSession& session, std::uint64_t offset, std::span<std::byte> to) {
  Reply reply = session.ask(row::cuMemcpyDtoH_v2::info().id,
                            body(hand::CopyFromDevice{FakeDriver::kBase + offset, to.size(), 0}));
  if (reply.status != CUDA_SUCCESS) return reply;
  CHECK(reply.get<std::uint64_t>() == to.size());
  if ((reply.head.flags & wire::kBulkFollows) != 0) {
    Status read = session.client().bulk_read(to);
    CHECK(read.code() == Code::kOk);
  } else {
    REQUIRE(reply.answers.size() == 8 + to.size());
    if (!to.empty()) std::memcpy(to.data(), reply.answers.data() + 8, to.size());
  }
  return reply;
}

// direct: the device's memory is the CPU's too.
void copy_all_sizes(bool direct, std::size_t driver_bytes_max) {
  constexpr std::size_t kAll = 5 * limits::kCopyChunkBytes;
  FakeDriver fake(kAll);
  fake.direct = direct;
  ServedSession session(fake.table());
  (void)open(session);
  for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, limits::kInlineCopyBytesMax,
                            limits::kInlineCopyBytesMax + 1, limits::kCopyChunkBytes,
                            3 * limits::kCopyChunkBytes + 17}) {
    CAPTURE(bytes);
    Bytes sent = pattern(bytes, static_cast<unsigned>(bytes));
    Bytes head = body(copy_in(bytes, 3));
    if (bytes <= limits::kInlineCopyBytesMax) {
      Bytes whole = head;
      whole.insert(whole.end(), sent.begin(), sent.end());
      REQUIRE(session.post(row::cuMemcpyHtoD_v2::info().id, whole).ok());
    } else {
      REQUIRE(session.post_bulk(row::cuMemcpyHtoD_v2::info().id, head, sent).ok());
    }
    Bytes got(bytes);
    CHECK(read_back(session, 3, got).status == CUDA_SUCCESS);
    CHECK(got == sent);
  }
  CHECK(fake.largest_piece <= driver_bytes_max);
  CHECK(fake.holds == 0);
}

TEST_CASE("bytes come back as they went, whatever their number") {
  copy_all_sizes(false, limits::kCopyChunkBytes);
}

TEST_CASE("no payload is copied by the driver where the CPU reaches the device's memory") {
  Switched all_on("");
  copy_all_sizes(true, limits::kInlineCopyBytesMax);
}

TEST_CASE("without in-place the driver copies, whatever it could do") {
  Switched off("in-place");
  copy_all_sizes(true, limits::kCopyChunkBytes);
}

// Where there is no room for all of it, the driver is to judge.
TEST_CASE("a payload is opened in place only where all of it is the client's") {
  Switched all_on("");
  FakeDriver fake(1 << 20);
  fake.direct = true;
  ServedSession session(fake.table());
  (void)open(session);
  Bytes big = pattern(1 << 20, 1);
  std::uint16_t id = row::cuMemcpyHtoD_v2::info().id;
  // Too long, behind the end, and around the end of all addresses.
  const std::uint64_t offsets[] = {1, 1 << 20, 0 - FakeDriver::kBase, 0 - FakeDriver::kBase - 100};
  for (std::uint64_t offset : offsets) {
    CAPTURE(offset);
    REQUIRE(
        session.post_bulk(id, body(copy_in(big.size(), offset)), big, 1, wire::kWantsReply).ok());
    CHECK(session.receive().status == CUDA_ERROR_INVALID_VALUE);
    Bytes got(big.size());
    CHECK(read_back(session, offset, got).status == CUDA_ERROR_INVALID_VALUE);
  }
  CHECK(fake.memory == Bytes(fake.memory.size()));
  CHECK(fake.holds == 0);
}

TEST_CASE("what is opened in place waits for its stream first, and is not held up behind one") {
  Switched all_on("");
  FakeDriver fake(1 << 20);
  fake.direct = true;
  fake.hold_sync = true;
  ServedSession session(fake.table());
  (void)open(session);
  Bytes big = pattern(1 << 20, 1);
  std::uint16_t id = row::cuMemcpyHtoDAsync_v2::info().id;
  REQUIRE(session.post_bulk(id, body(copy_in(big.size())), big, 1, wire::kWantsReply).ok());
  fake.await("sync begins");
  CHECK(fake.memory == Bytes(fake.memory.size()));
  fake.release();
  CHECK(session.receive().status == CUDA_SUCCESS);
  CHECK(fake.memory == big);
  // Behind work that is under way the copy is the stream's.
  fake.busy = true;
  fake.hold_again();
  Bytes other = pattern(1 << 20, 2);
  REQUIRE(session.post_bulk(id, body(copy_in(other.size())), other, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_SUCCESS);
  CHECK(fake.memory == other);
  CHECK(fake.largest_piece == limits::kCopyChunkBytes);
}

TEST_CASE("of a payload that breaks off nothing stays in the device's memory") {
  Switched all_on("");
  FakeDriver fake(4 << 20);
  fake.direct = true;
  ServedSession session(fake.table());
  (void)open(session);
  wire::FrameHeader head{.id = row::cuMemcpyHtoD_v2::info().id, .thread = 1};
  Bytes bytes = body(copy_in(fake.memory.size()));
  auto encode = [&](wire::Writer& out) { out.bytes(bytes.data(), bytes.size()); };
  std::size_t records = 0;
  auto fill = [&](std::span<std::byte> room) -> Status {
    if (++records == 5) return Status(Code::kDriver, "had enough");
    std::fill(room.begin(), room.end(), std::byte{0x5a});
    return ok();
  };
  CHECK_FALSE(session.client().post_bulk_from(head, encode, fake.memory.size(), fill).ok());
  CHECK(session.ask(row::cuStreamQuery::info().id, body(std::uint64_t{0})).status != CUDA_SUCCESS);
  CHECK(fake.memory == Bytes(fake.memory.size()));
  records = 0;
  auto fill_and_go = [&](std::span<std::byte> room) -> Status {
    if (++records == 5) session.client().close(Status(Code::kClosed, "gone"));
    std::fill(room.begin(), room.end(), std::byte{0x5a});
    return ok();
  };
  CHECK_FALSE(session.client().post_bulk_from(head, encode, fake.memory.size(), fill_and_go).ok());
  (void)session.wait();
  CHECK(fake.memory == Bytes(fake.memory.size()));
  CHECK(fake.holds == 0);
}

TEST_CASE("a copy nobody waits for must be one that nobody waits for, and not too long") {
  std::uint16_t later = row::cuMemcpyDtoHAsync_v2::info().id;
  std::uint16_t now = row::cuMemcpyDtoH_v2::info().id;
  struct Wrong {
    std::uint16_t id;
    std::uint64_t bytes;
    std::uint16_t flags;
  };
  for (Wrong wrong : {Wrong{later, 1, wire::kWantsReply}, Wrong{later, 0, 0}, Wrong{now, 1, 0},
                      Wrong{later, limits::kLateCopyBytesMax + 1, 0}}) {
    FakeDriver fake(4096);
    ServedSession session(fake.table());
    Bytes bytes = body(hand::CopyFromDevice{FakeDriver::kBase, wrong.bytes, 0, 7});
    REQUIRE(session.post(wrong.id, bytes, 1, wrong.flags).ok());
    CHECK(session.wait().code() == Code::kMalformed);
  }
}

TEST_CASE("a payload whose call fails is passed over, and the next one is whole") {
  FakeDriver fake(4 * limits::kCopyChunkBytes);
  ServedSession session(fake.table());
  (void)open(session);
  std::uint16_t id = row::cuMemcpyHtoDAsync_v2::info().id;
  Bytes big = pattern(3 * limits::kCopyChunkBytes, 1);
  Bytes small = pattern(100'000, 2);
  // Beyond the end of the memory: the driver refuses the first piece.
  Bytes bad = body(copy_in(big.size(), fake.memory.size()));
  // A stream that does not exist: the driver is not even asked.
  hand::CopyToDevice no_stream = copy_in(big.size());
  no_stream.stream = 0x7777;
  for (const Bytes& head : {bad, body(no_stream)}) {
    REQUIRE(session.post_bulk(id, head, big).ok());
    REQUIRE(session.post_bulk(id, body(copy_in(small.size())), small).ok());
    CHECK(session.ask(row::cuStreamQuery::info().id, body(std::uint64_t{0})).status !=
          CUDA_SUCCESS);
    Bytes got(small.size());
    CHECK(read_back(session, 0, got).status == CUDA_SUCCESS);
    CHECK(got == small);
  }
}

TEST_CASE("a payload is passed over when an earlier failure answers in its call's place") {
  FakeDriver fake(1 << 20);
  fake.fail_memset = CUDA_ERROR_INVALID_VALUE;
  ServedSession session(fake.table());
  (void)open(session);
  Bytes memset = body(CUdeviceptr{0}, std::uint8_t{7}, std::uint64_t{1}, std::uint64_t{0});
  REQUIRE(session.post(row::cuMemsetD8Async::info().id, memset).ok());
  Bytes payload = pattern(200'000, 3);
  std::uint16_t id = row::cuMemcpyHtoD_v2::info().id;
  REQUIRE(session.post_bulk(id, body(copy_in(payload.size())), payload, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_ERROR_INVALID_VALUE);
  REQUIRE(session.post_bulk(id, body(copy_in(payload.size())), payload, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_SUCCESS);
  CHECK(std::memcmp(fake.memory.data(), payload.data(), payload.size()) == 0);
}

TEST_CASE(
    "a copy that fails half way reaches the client as that failure, and the session lives on") {
  FakeDriver fake(4 * limits::kCopyChunkBytes);
  fake.bad_from = FakeDriver::kBase + 2 * limits::kCopyChunkBytes;
  ServedSession session(fake.table());
  (void)open(session);
  std::uint64_t all = fake.memory.size();
  Reply reply = session.ask(row::cuMemcpyDtoH_v2::info().id,
                            body(hand::CopyFromDevice{FakeDriver::kBase, all, 0}));
  REQUIRE(reply.status == CUDA_SUCCESS);  // the first piece was fine
  Bytes got(all);
  Status read = session.client().bulk_read(got);
  CHECK(read.code() == Code::kDriver);
  CHECK(read.detail() == CUDA_ERROR_ILLEGAL_ADDRESS);
  Bytes small(1000);
  CHECK(read_back(session, 0, small).status == CUDA_SUCCESS);
}

TEST_CASE("a copy of more than there is fails without a payload") {
  FakeDriver fake(4096);
  ServedSession session(fake.table());
  (void)open(session);
  Bytes got(8192);
  CHECK(read_back(session, 0, got).status == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a copy between host and device does not become part of a graph") {
  FakeDriver fake(4096);
  fake.capturing = true;
  ServedSession session(fake.table());
  (void)open(session);
  Bytes in = body(copy_in(1), std::uint8_t{7});
  std::uint16_t id = row::cuMemcpyHtoDAsync_v2::info().id;
  CHECK(session.ask(id, in).status == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(session
            .ask(row::cuMemcpyDtoHAsync_v2::info().id,
                 body(hand::CopyFromDevice{FakeDriver::kBase, 1, 0}))
            .status == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(fake.memory[0] == std::byte{0});
}

TEST_CASE("lengths that lie end the session") {
  std::uint16_t in = row::cuMemcpyHtoD_v2::info().id;
  for (const Bytes& bytes : {body(copy_in(100)), body(copy_in(UINT64_MAX)), body(1u, 2u)}) {
    FakeDriver fake(4096);
    ServedSession session(fake.table());
    REQUIRE(session.post(in, bytes).ok());
    CHECK(session.wait().code() == Code::kMalformed);
  }
}

}  // namespace
}  // namespace farcall::server
