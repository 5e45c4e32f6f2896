// The RDMA carrier: order, bounds, ends. Over verbs in the guest, over UCX's TCP elsewhere.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "tests/rdma/fabric.h"
#include "transport/link/record.h"
#include "transport/link/session_parts.h"

using namespace farcall;
using namespace farcall::link;

namespace {

// A record as a carrier sees it: a length that fits, and then anything.
Status send_record(Carrier& carrier, std::size_t bytes, unsigned seed) {
  std::span<std::byte> slot = carrier.tx_reserve(bytes);
  RecordHeader header;
  header.length = static_cast<std::uint32_t>(bytes - limits::kRecordHeaderBytes);
  std::memcpy(slot.data(), &header, sizeof header);
  for (std::size_t i = sizeof header; i < bytes; ++i) {
    slot[i] = static_cast<std::byte>(i * 7 + seed);
  }
  return carrier.tx_commit(bytes);
}

Status receive_record(Carrier& carrier, std::size_t bytes, unsigned seed) {
  FARCALL_TRY(carrier.wait(soon()));
  Result<std::span<const std::byte>> record = carrier.rx_peek();
  if (!record.ok()) return record.status();
  if (record.value().size() != bytes) {
    return {Code::kMalformed, "a record of " + std::to_string(record.value().size()) +
                                  " bytes, not " + std::to_string(bytes)};
  }
  for (std::size_t i = sizeof(RecordHeader); i < bytes; ++i) {
    if (record.value()[i] != static_cast<std::byte>(i * 7 + seed)) {
      return {Code::kMalformed, "byte " + std::to_string(i) + " of record " + std::to_string(seed)};
    }
  }
  carrier.rx_release();
  return ok();
}

// Every edge of UCX's fragments, then whatever comes.
std::vector<std::size_t> sizes(unsigned seed) {
  std::vector<std::size_t> all = {
      32, 33, 100, 8191, 8192, 8193, 8256, 16384, 65536 + 32, kSealedBytesMax - 1, kSealedBytesMax};
  std::mt19937 random(seed);
  for (int i = 0; i < 150; ++i) {
    const std::size_t most = random() % 4 == 0 ? kSealedBytesMax : 700;
    all.push_back(32 + random() % (most - 31));
  }
  return all;
}

}  // namespace

TEST_CASE("records of every size arrive whole and in order, both ways at once") {
  Ends ends = joined();
  const auto up = sizes(1), down = sizes(2);
  Status results[4];
  const auto send_all = [](Carrier& carrier, const std::vector<std::size_t>& all, Status* result) {
    for (unsigned i = 0; i < all.size() && result->ok(); ++i) {
      *result = send_record(carrier, all[i], i);
    }
  };
  const auto receive_all = [](Carrier& carrier, const std::vector<std::size_t>& all,
                              Status* result) {
    for (unsigned i = 0; i < all.size() && result->ok(); ++i) {
      *result = receive_record(carrier, all[i], i);
    }
  };
  std::thread threads[] = {std::thread([&] { send_all(*ends.a, up, &results[0]); }),
                           std::thread([&] { receive_all(*ends.b, up, &results[1]); }),
                           std::thread([&] { send_all(*ends.b, down, &results[2]); }),
                           std::thread([&] { receive_all(*ends.a, down, &results[3]); })};
  for (std::thread& thread : threads) thread.join();
  for (const Status& result : results) CHECK(result.to_string() == ok().to_string());
}

TEST_CASE("a connection's hello comes with it, and is no record") {
  std::unique_ptr<RdmaListener> listening = listener();
  Hello hello;
  for (std::size_t i = 0; i < hello.size(); ++i) hello[i] = static_cast<std::byte>(i + 1);
  Ends ends = join(*listening, hello);
  CHECK(ends.hello == hello);
  CHECK(ends.b->rx_peek().value().empty());
  listening.reset();  // lanes live on without it
  CHECK(send_record(*ends.a, 500, 1).ok());
  CHECK(receive_record(*ends.b, 500, 1).ok());
}

TEST_CASE("a receiver that does not read holds its sender up after a window of records") {
  Ends ends = joined();
  for (unsigned i = 0; i < limits::kRdmaWindowRecords; ++i) {
    REQUIRE(ends.a->tx_ready());
    REQUIRE(send_record(*ends.a, 1000, i).ok());
  }
  CHECK_FALSE(ends.a->tx_ready());
  Status more;
  std::thread sender([&] { more = send_record(*ends.a, 1000, limits::kRdmaWindowRecords); });
  for (unsigned i = 0; i <= limits::kRdmaWindowRecords; ++i) {
    CHECK(receive_record(*ends.b, 1000, i).ok());
  }
  sender.join();
  CHECK(more.ok());
}

TEST_CASE("what was sent before closing still arrives, and then the end") {
  Ends ends = joined();
  for (unsigned i = 0; i < 5; ++i) REQUIRE(send_record(*ends.a, 100'000, i).ok());
  ends.a->close();
  CHECK(ends.a->wait(soon()).code() == Code::kClosed);
  CHECK(send_record(*ends.a, 100, 0).code() == Code::kClosed);
  for (unsigned i = 0; i < 5; ++i) CHECK(receive_record(*ends.b, 100'000, i).ok());
  CHECK(ends.b->wait(soon()).code() == Code::kClosed);
}

TEST_CASE("closing wakes who waits, on both ends") {
  Ends ends = joined();
  for (unsigned i = 0; i < limits::kRdmaWindowRecords; ++i) {
    REQUIRE(send_record(*ends.b, 100, i).ok());
  }
  Status reading, held_up, own;
  std::thread threads[] = {
      std::thread([&] { reading = ends.b->wait(Deadline::never()); }),
      std::thread([&] { held_up = send_record(*ends.b, 100, 99); }),
      std::thread([&] { own = ends.a->wait(Deadline::never()); }),
  };
  threads[2].join();  // there are records for it
  CHECK(own.ok());
  ends.a->close();
  for (std::thread* thread : {&threads[0], &threads[1]}) thread->join();
  CHECK(reading.code() == Code::kClosed);
  CHECK(held_up.code() == Code::kClosed);
}

TEST_CASE("what has not been released has arrived") {
  Ends ends = joined();
  CHECK_FALSE(ends.b->rx_arrived());
  REQUIRE(send_record(*ends.a, 64, 0).ok());
  REQUIRE(send_record(*ends.a, 64, 1).ok());
  REQUIRE(ends.b->wait(soon()).ok());
  CHECK(ends.b->rx_arrived());
  CHECK(receive_record(*ends.b, 64, 0).ok());
  CHECK(receive_record(*ends.b, 64, 1).ok());
  CHECK_FALSE(ends.b->rx_arrived());
  ends.a->close();
  CHECK(ends.b->wait(soon()).code() == Code::kClosed);
  CHECK(ends.b->rx_arrived());
}

TEST_CASE("a wait ends at its deadline") {
  Ends ends = joined();
  CHECK(ends.a->wait(Deadline::after(system_clock(), 30)).code() == Code::kTimeout);
  CHECK(send_record(*ends.b, 64, 5).ok());
  CHECK(receive_record(*ends.a, 64, 5).ok());
}

TEST_CASE("a record that lies about its length ends the link") {
  Ends ends = joined();
  std::span<std::byte> slot = ends.a->tx_reserve(200);
  RecordHeader header;
  header.length = 100;
  std::memcpy(slot.data(), &header, sizeof header);
  REQUIRE(ends.a->tx_commit(200).ok());
  CHECK(ends.b->wait(soon()).code() == Code::kMalformed);
}

TEST_CASE("a forked child lets go without a word, and the parent goes on") {
  Ends ends = joined();
  const pid_t child = ::fork();
  if (child == 0) {
    ends.a->abandon();
    ends.b->abandon();
    ends.a.reset();
    ends.b.reset();
    ::_exit(0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(send_record(*ends.a, 3000, 4).ok());
  CHECK(receive_record(*ends.b, 3000, 4).ok());
}

TEST_CASE("a session runs over it: calls and payloads larger than any buffer") {
  std::unique_ptr<RdmaListener> listening = listener();
  SessionParts client, server;
  client.role = Role::kClient;
  server.role = Role::kServer;
  Ends calls = join(*listening, Hello{}), bulk = join(*listening, Hello{});
  client.calls = std::move(calls.a);
  client.bulk = std::move(bulk.a);
  server.calls = std::move(calls.b);
  server.bulk = std::move(bulk.b);
  auto near = std::move(SessionParts::start(std::move(client))).value();
  auto far = std::move(SessionParts::start(std::move(server))).value();
  REQUIRE(SessionParts::confirm(*near, soon()).ok());
  REQUIRE(SessionParts::confirm(*far, soon()).ok());
  std::vector<std::byte> sent(6'000'000), got(sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::byte>(i * 13 >> 3);
  wire::FrameHeader head;
  head.id = 1;
  Status posted;
  std::thread sender([&] {
    posted = near->post_bulk(
                     head, [](wire::Writer&) {}, sent)
                 .status();
  });
  CHECK(far->receive(soon()).ok());
  CHECK(far->bulk_read(got).ok());
  sender.join();
  CHECK(posted.ok());
  CHECK(got == sent);
  near->close(Status(Code::kClosed, "done"));
  CHECK(far->receive(soon()).status().code() == Code::kClosed);
}
