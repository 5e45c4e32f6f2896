#include "transport/link/session.h"
#include "transport/link/engine.h"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/support/switched.h"
#include "tests/support/watched_thread.h"

using namespace farcall;
using namespace farcall::link;

namespace {

SessionPair make_pair(RekeyLimits rekey = RekeyLimits::standard()) {
  Result<SessionPair> pair = make_loopback_session_pair(rekey);
  REQUIRE_MESSAGE(pair.ok(), pair.status().to_string());
  return std::move(pair).value();
}

Deadline soon() { return Deadline::after(system_clock(), 5'000); }

wire::FrameHeader head_of(std::uint16_t id, std::uint16_t flags = 0) {
  wire::FrameHeader head;
  head.id = id;
  head.flags = flags;
  head.thread = 1;
  return head;
}

std::vector<std::byte> pattern(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> all(bytes);
  for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>((i * 7 + seed) & 0xff);
  return all;
}

Status post_number(Session& session, std::uint16_t id, std::uint64_t number, Flush flush) {
  return session.post(head_of(id), flush, [&](wire::Writer& out) { out.put(number); }).status();
}

std::uint64_t number_of(const Frame& frame) {
  std::uint64_t number = 0;
  REQUIRE(frame.body.size() == sizeof(number));
  std::memcpy(&number, frame.body.data(), sizeof(number));
  return number;
}

}  // namespace

TEST_CASE("a notice keeps call number 0 and takes none from the calls around it") {
  SessionPair pair = make_pair();
  REQUIRE(post_number(*pair.server, 0x0101, 1, Flush::kLater).ok());
  Result<std::uint32_t> notice = pair.server->post(head_of(0x0004, wire::kReply), Flush::kLater,
                                                   [](wire::Writer& out) { out.put(2); });
  REQUIRE(notice.ok());
  CHECK(notice.value() == 0);
  REQUIRE(post_number(*pair.server, 0x0101, 3, Flush::kNow).ok());
  for (std::uint32_t expected : {1U, 0U, 2U}) {
    Result<Frame> frame = pair.client->receive(soon());
    REQUIRE(frame.ok());
    CHECK(frame->head.call == expected);
  }
}

TEST_CASE("a notice that finds a full record waits for the next one") {
  SessionPair pair = make_pair();
  const std::vector<std::byte> bytes = pattern(limits::kFrameBodyBytesMax, 3);
  auto encode = [&](wire::Writer& out) { out.bytes(bytes.data(), bytes.size()); };
  for (int i = 0; i < 3; ++i) {
    Result<std::uint32_t> sent =
        pair.server->post(head_of(0x0004, wire::kReply), Flush::kNow, encode);
    REQUIRE(sent.ok());
    CHECK(sent.value() == 0);
    Result<Frame> frame = pair.client->receive(soon());
    REQUIRE(frame.ok());
    CHECK(frame->head.call == 0);
    CHECK(frame->body.size() == bytes.size());
  }
}

TEST_CASE("a frame arrives as it was posted, and its reply comes back") {
  SessionPair pair = make_pair();
  Result<std::uint32_t> call =
      pair.client->post(head_of(0x0101, wire::kWantsReply), Flush::kNow,
                        [](wire::Writer& out) { out.put(std::uint32_t{42}); });
  REQUIRE(call.ok());
  CHECK(call.value() == 1);
  Result<Frame> frame = pair.server->receive(soon());
  REQUIRE(frame.ok());
  CHECK(frame->head.id == 0x0101);
  CHECK(frame->head.call == 1);
  CHECK(frame->head.thread == 1);
  CHECK(frame->body.size() == 4);

  wire::FrameHeader reply = frame->head;
  reply.flags = wire::kReply;
  REQUIRE(pair.server->post(reply, Flush::kNow, [](wire::Writer&) {}).ok());
  Result<Frame> answer = pair.client->receive(soon());
  REQUIRE(answer.ok());
  CHECK(answer->head.call == 1);
  CHECK(answer->head.flags == wire::kReply);
  CHECK(pair.client->stats().round_trips == 1);
  CHECK(pair.client->describe() ==
        "loopback, AES-256-GCM (" + std::string(to_string(chosen_engine())) + ")");
}

TEST_CASE("frames posted for later share one record, and has_more says that more are waiting") {
  SessionPair pair = make_pair();
  const std::uint64_t before = pair.client->stats().records_out;
  for (std::uint64_t i = 0; i < 10; ++i) {
    // Age makes a slow machine flush earlier; the count below allows for that.
    REQUIRE(post_number(*pair.client, 0x0201, i, Flush::kLater).ok());
  }
  REQUIRE(pair.client->flush().ok());
  CHECK(pair.client->stats().records_out - before <= 10);
  for (std::uint64_t i = 0; i < 10; ++i) {
    CHECK(pair.server->has_more());
    Result<Frame> frame = pair.server->receive(soon());
    REQUIRE(frame.ok());
    CHECK(number_of(*frame.operator->()) == i);
    CHECK(frame->head.call == i + 1);
  }
  CHECK_FALSE(pair.server->has_more());
}

TEST_CASE("the first frame after a pause does not gather, one posted for later does") {
  Switched all_on("");
  SessionPair pair = make_pair();
  REQUIRE(post_number(*pair.client, 0x0201, 1, Flush::kSoon).ok());
  CHECK_FALSE(pair.client->has_gathered());
  CHECK(pair.server->has_more());
  REQUIRE(post_number(*pair.client, 0x0201, 2, Flush::kLater).ok());
  CHECK(pair.client->has_gathered());
  REQUIRE(pair.client->flush().ok());
  CHECK_FALSE(pair.client->has_gathered());
}

TEST_CASE("a full record is sent by itself and the frame starts a new one") {
  SessionPair pair = make_pair();
  const auto body = pattern(40'000, 1);
  int encoded = 0;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(pair.client
                ->post(head_of(0x0202), Flush::kLater,
                       [&](wire::Writer& out) {
                         ++encoded;
                         out.bytes(body.data(), body.size());
                       })
                .ok());
  }
  CHECK(encoded <= 3);
  REQUIRE(pair.client->flush().ok());
  for (int i = 0; i < 2; ++i) {
    Result<Frame> frame = pair.server->receive(soon());
    REQUIRE(frame.ok());
    CHECK(std::memcmp(frame->body.data(), body.data(), body.size()) == 0);
  }
}

TEST_CASE("the largest body passes, one byte more is refused and uses no call number") {
  SessionPair pair = make_pair();
  const auto most = pattern(limits::kFrameBodyBytesMax + 1, 2);
  const auto post = [&](std::size_t bytes) {
    return pair.client->post(head_of(0x0203), Flush::kNow,
                             [&](wire::Writer& out) { out.bytes(most.data(), bytes); });
  };
  CHECK(post(most.size() - 1).value() == 1);
  CHECK(post(most.size()).status().code() == Code::kOverQuota);
  CHECK(post(0).value() == 2);
  CHECK(pair.server->receive(soon())->body.size() == limits::kFrameBodyBytesMax);
  CHECK(pair.server->receive(soon())->body.empty());
}

TEST_CASE("an encoder that fails its writer posts nothing") {
  SessionPair pair = make_pair();
  CHECK(pair.client->post(head_of(1), Flush::kNow, [](wire::Writer& out) { out.fail(); })
            .status()
            .code() == Code::kOverQuota);
  REQUIRE(post_number(*pair.client, 2, 7, Flush::kNow).ok());
  CHECK(pair.server->receive(soon())->head.id == 2);
}

TEST_CASE("payloads of every awkward size arrive whole, whatever pieces they are read in") {
  SessionPair pair = make_pair();
  const std::size_t sizes[] = {0, 1, 65'535, 65'536, 65'537, 327'680, 1'000'003};
  for (std::size_t bytes : sizes) {
    for (std::size_t step : {std::size_t{1'000'003}, std::size_t{100'000}}) {
      CAPTURE(bytes);
      CAPTURE(step);
      const auto payload = pattern(bytes, 3);
      REQUIRE(pair.client
                  ->post_bulk(
                      head_of(0x0210), [](wire::Writer&) {}, payload)
                  .ok());
      Result<Frame> frame = pair.server->receive(soon());
      REQUIRE(frame.ok());
      CHECK((frame->head.flags & wire::kBulkFollows) != 0);
      std::vector<std::byte> got(bytes);
      for (std::size_t at = 0; at < bytes; at += step) {
        REQUIRE(
            pair.server->bulk_read(std::span(got).subspan(at, std::min(step, bytes - at))).ok());
      }
      CHECK(got == payload);
    }
  }
}

TEST_CASE("a payload that is produced piece by piece arrives whole") {
  SessionPair pair = make_pair();
  const auto payload = pattern(700'000, 4);
  std::size_t at = 0;
  const auto fill = [&](std::span<std::byte> room) {
    std::memcpy(room.data(), payload.data() + at, room.size());
    at += room.size();
    return ok();
  };
  REQUIRE(pair.server
              ->post_bulk_from(
                  head_of(0x0211), [](wire::Writer&) {}, payload.size(), fill)
              .ok());
  REQUIRE(pair.client->receive(soon()).ok());
  std::vector<std::byte> got(payload.size());
  REQUIRE(pair.client->bulk_read(got).ok());
  CHECK(got == payload);
}

TEST_CASE("a payload called off midway fails its reader and nothing else") {
  SessionPair pair = make_pair();
  int pieces = 0;
  const auto fill = [&](std::span<std::byte> room) {
    if (++pieces == 3) return Status::driver("copy", 700);
    std::memset(room.data(), 1, room.size());
    return ok();
  };
  Result<std::uint32_t> posted = pair.server->post_bulk_from(
      head_of(0x0211), [](wire::Writer&) {}, 1'000'000, fill);
  CHECK(posted.status().detail() == 700);
  const auto next = pattern(1'000, 5);
  REQUIRE(pair.server
              ->post_bulk(
                  head_of(0x0212), [](wire::Writer&) {}, next)
              .ok());

  REQUIRE(pair.client->receive(soon()).ok());
  std::vector<std::byte> lost(1'000'000);
  Status read = pair.client->bulk_read(lost);
  CHECK(read.code() == Code::kDriver);
  CHECK(read.detail() == 700);
  CHECK(lost == std::vector<std::byte>(lost.size()));  // wiped
  REQUIRE(pair.client->receive(soon()).ok());
  std::vector<std::byte> got(next.size());
  REQUIRE(pair.client->bulk_read(got).ok());
  CHECK(got == next);
  CHECK(pair.client->closed().ok());
}

TEST_CASE("keys change every few records without anyone noticing") {
  SessionPair pair = make_pair({.bytes = 100'000, .records = 3});
  const auto payload = pattern(900'000, 6);
  for (std::uint64_t i = 0; i < 50; ++i) {
    REQUIRE(post_number(*pair.client, 0x0301, i, Flush::kNow).ok());
    CHECK(number_of(*pair.server->receive(soon()).operator->()) == i);
  }
  REQUIRE(pair.client
              ->post_bulk(
                  head_of(0x0302), [](wire::Writer&) {}, payload)
              .ok());
  std::vector<std::byte> got(payload.size());
  REQUIRE(pair.server->receive(soon()).ok());
  REQUIRE(pair.server->bulk_read(got).ok());
  CHECK(got == payload);
}

TEST_CASE("a deadline that passes is no error of the session") {
  SessionPair pair = make_pair();
  CHECK(pair.server->receive(Deadline::after(system_clock(), 1)).status().code() == Code::kTimeout);
  REQUIRE(post_number(*pair.client, 1, 1, Flush::kNow).ok());
  CHECK(pair.server->receive(soon()).ok());
}

TEST_CASE("close wakes the receiving and the bulk reading thread with the reason") {
  SessionPair pair = make_pair();
  Status received, read;
  WatchedThread receiver([&] { received = pair.client->receive(Deadline::never()).status(); });
  WatchedThread reader([&] {
    std::array<std::byte, 8> room;
    read = pair.client->bulk_read(room);
  });
  receiver.await_sleep();
  reader.await_sleep();
  pair.client->close({Code::kDenied, "the lease was revoked"});
  receiver.join();
  reader.join();
  CHECK(received.text() == "the lease was revoked");
  CHECK(read.text() == "the lease was revoked");
  CHECK(post_number(*pair.client, 1, 1, Flush::kNow).code() == Code::kDenied);
  CHECK(pair.client->flush().code() == Code::kDenied);
  pair.client->close({Code::kClosed, "again"});
  CHECK(pair.client->closed().text() == "the lease was revoked");
}

TEST_CASE("the peer is told why, after everything that was sent before") {
  SessionPair pair = make_pair();
  REQUIRE(post_number(*pair.server, 1, 5, Flush::kNow).ok());
  pair.server->close({Code::kDenied, "the lease was revoked\n"});
  CHECK(number_of(*pair.client->receive(soon()).operator->()) == 5);
  Status why = pair.client->receive(soon()).status();
  CHECK(why.code() == Code::kClosed);
  CHECK(why.text() == "the peer ended the session: denied: the lease was revoked?");
}

TEST_CASE("close wakes threads that wait for the wire") {
  SessionPair pair = make_pair();
  const auto payload = pattern(80 << 20, 1);  // more than the link holds unread
  Status sent;
  std::thread sender([&] {
    sent = pair.client
               ->post_bulk(
                   head_of(1), [](wire::Writer&) {}, payload)
               .status();
  });
  REQUIRE(pair.server->receive(soon()).ok());
  pair.client->close({Code::kClosed, "enough"});
  sender.join();
  CHECK(sent.text() == "enough");
}

TEST_CASE("the peer's end is seen after everything it had sent") {
  SessionPair pair = make_pair();
  REQUIRE(post_number(*pair.client, 1, 9, Flush::kNow).ok());
  pair.client.reset();
  CHECK(number_of(*pair.server->receive(soon()).operator->()) == 9);
  CHECK(pair.server->receive(soon()).status().code() == Code::kClosed);
  CHECK(pair.server->closed().code() == Code::kClosed);
}

TEST_CASE("a frame that cannot be closes the session") {
  SessionPair pair = make_pair();
  wire::FrameHeader head = head_of(1);
  head.flags = 0x8000;
  REQUIRE(pair.client->post(head, Flush::kNow, [](wire::Writer&) {}).ok());
  CHECK(pair.server->receive(soon()).status().code() == Code::kMalformed);
  CHECK(pair.server->post(head_of(1), Flush::kNow, [](wire::Writer&) {}).status().code() ==
        Code::kMalformed);
}

TEST_CASE("frames of many threads and payloads of two arrive whole and in each thread's order") {
  SessionPair pair = make_pair({.bytes = 1 << 20, .records = 100});
  constexpr int kThreads = 4;
  constexpr std::uint64_t kFrames = 500;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      wire::FrameHeader head = head_of(0x0400);
      head.thread = static_cast<std::uint32_t>(thread + 1);
      const auto payload = pattern(100'000, static_cast<unsigned>(thread));
      for (std::uint64_t i = 0; i < kFrames; ++i) {
        const auto encode = [&](wire::Writer& out) { out.put(i); };
        Status posted;
        if (thread < 2 && i % 50 == 0) {
          posted = pair.client->post_bulk(head, encode, payload).status();
        } else {
          posted = pair.client->post(head, i % 3 ? Flush::kLater : Flush::kNow, encode).status();
        }
        if (!posted.ok()) return;
      }
      static_cast<void>(pair.client->flush());
    });
  }
  std::array<std::uint64_t, kThreads> next{};
  std::vector<std::byte> got(100'000);
  for (std::uint32_t call = 1; call <= kThreads * kFrames; ++call) {
    Result<Frame> frame = pair.server->receive(soon());
    REQUIRE_MESSAGE(frame.ok(), frame.status().to_string());
    REQUIRE(frame->head.call == call);
    const std::size_t thread = frame->head.thread - 1;
    REQUIRE(number_of(*frame.operator->()) == next[thread]++);
    if (frame->head.flags & wire::kBulkFollows) {
      REQUIRE(pair.server->bulk_read(got).ok());
      REQUIRE(got == pattern(got.size(), static_cast<unsigned>(thread)));
    }
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(pair.server->stats().frames_in == kThreads * kFrames);
  CHECK(pair.server->stats().bulk_bytes_in == 20 * 100'000);
}
