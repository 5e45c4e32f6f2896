#include "gpu_server/executor.h"

#include <doctest/doctest.h>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "transport/api/hand.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

constexpr std::uint64_t kEvent = 0x5000;

template <class Row>
std::uint16_t id_of() {
  return Row::info().id;
}

// Opens the session and makes device 0's primary context current for the threads given.
std::uint64_t open(ServedSession& session, std::initializer_list<std::uint32_t> threads) {
  Reply opened = session.ask(id_of<row::cuInit>(), body(hand::OpenRequest{hand::kOpenVersion, 0}));
  REQUIRE(opened.status == CUDA_SUCCESS);
  auto context = opened.get<hand::DeviceFacts>(sizeof(hand::OpenReply)).primary_context;
  for (std::uint32_t thread : threads) {
    REQUIRE(session.post(id_of<row::bind_context>(), body(context), thread).ok());
  }
  return context;
}

TEST_CASE("opening tells every device, its attributes and which of them the driver refused") {
  FakeDriver fake;
  ServedSession session(fake.table());
  Reply reply = session.ask(id_of<row::cuInit>(), body(hand::OpenRequest{hand::kOpenVersion, 0}));
  REQUIRE(reply.status == CUDA_SUCCESS);
  auto head = reply.get<hand::OpenReply>();
  CHECK(head.driver_version == 13000);
  CHECK(head.device_count == 2);
  CHECK(head.attribute_count == CU_DEVICE_ATTRIBUTE_MAX - 1);
  std::size_t each = sizeof(hand::DeviceFacts) + 4 * head.attribute_count;
  REQUIRE(reply.answers.size() == sizeof head + 2 * each);
  std::size_t second = sizeof head + each;
  auto facts = reply.get<hand::DeviceFacts>(second);
  CHECK(std::string(facts.name) == "Fake 1");
  CHECK(facts.memory_bytes == std::size_t{1} << 30);
  CHECK(facts.primary_context != 0);
  std::size_t attributes = second + sizeof facts;
  CHECK(reply.get<std::int32_t>(attributes) == 10);
  CHECK(reply.get<std::int32_t>(attributes + 8) == hand::kNoAttribute);
  CHECK(fake.contexts_alive == 0);  // looking at a device makes no context on it
}

TEST_CASE("a primary context that is bound before it was retained is retained when it is needed") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1});
  CHECK(session.ask(id_of<row::cuStreamQuery>(), body(std::uint64_t{0})).status == CUDA_SUCCESS);
  CHECK(fake.contexts_alive == 1);
  Reply retained = session.ask(id_of<row::cuDevicePrimaryCtxRetain>(), body(std::int32_t{0}));
  CHECK(retained.status == CUDA_SUCCESS);
  CHECK(fake.contexts_alive == 1);
  (void)session.end();
  CHECK(fake.contexts_alive == 0);  // given back at the end
}

TEST_CASE("a context is set once for a run of calls and again after it was given back") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1});
  for (int i = 0; i < 3; ++i)
    (void)session.ask(id_of<row::cuStreamQuery>(), body(std::uint64_t{0}));
  CHECK(fake.set_current_calls == 1);
  (void)session.ask(id_of<row::cuDevicePrimaryCtxRelease_v2>(), body(std::int32_t{0}));
  (void)session.ask(id_of<row::cuStreamQuery>(), body(std::uint64_t{0}));
  CHECK(fake.set_current_calls == 2);
}

TEST_CASE("calls that nobody waits for are carried out in order, and handles live between them") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1});
  REQUIRE(session.post(id_of<row::cuEventCreate>(), body(kEvent, 0u)).ok());
  REQUIRE(session
              .post(id_of<row::cuMemsetD8Async>(),
                    body(CUdeviceptr{0}, std::uint8_t{7}, std::uint64_t{1}, std::uint64_t{0}))
              .ok());
  CHECK(session.ask(id_of<row::cuEventQuery>(), body(kEvent)).status == CUDA_SUCCESS);
  REQUIRE(session.post(id_of<row::cuEventDestroy_v2>(), body(kEvent)).ok());
  CHECK(session.ask(id_of<row::cuEventQuery>(), body(kEvent)).status == CUDA_ERROR_INVALID_HANDLE);
  auto log = fake.log();
  REQUIRE(log.size() >= 5);
  CHECK(std::vector(log.end() - 3, log.end()) ==
        std::vector<std::string>{"memset 7", "event?", "event-"});
}

TEST_CASE("a wait holds up its own thread and nobody else") {
  FakeDriver fake;
  fake.hold_sync = true;
  ServedSession session(fake.table());
  (void)open(session, {1, 2});
  REQUIRE(
      session.post(id_of<row::cuStreamSynchronize>(), body(std::uint64_t{0}), 1, wire::kWantsReply)
          .ok());
  fake.await("sync begins");
  CHECK(session.ask(id_of<row::cuStreamQuery>(), body(std::uint64_t{0}), 2).head.thread == 2);
  fake.release();
  Reply waited = session.receive();
  CHECK(waited.head.thread == 1);
  CHECK(waited.status == CUDA_SUCCESS);
}

TEST_CASE("a wait of the only thread so far does not hold up one that comes later") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1});
  // Long enough alone for the leader to do the waiting itself.
  for (int i = 0; i < 100; ++i) {
    (void)session.ask(id_of<row::cuStreamSynchronize>(), body(std::uint64_t{0}));
  }
  fake.hold_sync = true;
  for (std::uint32_t other : {2u, 3u}) {
    fake.hold_again();
    REQUIRE(
        session
            .post(id_of<row::cuStreamSynchronize>(), body(std::uint64_t{0}), 1, wire::kWantsReply)
            .ok());
    CHECK(session.ask(id_of<row::cuStreamQuery>(), body(std::uint64_t{0}), other).head.thread ==
          other);
    fake.release();
    CHECK(session.receive().head.thread == 1);
    for (int i = 0; i < 100; ++i) {
      (void)session.ask(id_of<row::cuStreamSynchronize>(), body(std::uint64_t{0}));
    }
  }
}

TEST_CASE("a thread that sends while it waits is served after its wait") {
  FakeDriver fake;
  fake.hold_sync = true;
  ServedSession session(fake.table());
  (void)open(session, {1});
  REQUIRE(
      session.post(id_of<row::cuStreamSynchronize>(), body(std::uint64_t{0}), 1, wire::kWantsReply)
          .ok());
  REQUIRE(
      session.post(id_of<row::cuStreamQuery>(), body(std::uint64_t{0}), 1, wire::kWantsReply).ok());
  fake.await("sync begins");
  CHECK(session.client().receive(Deadline::after(system_clock(), 20)).status().code() ==
        Code::kTimeout);
  fake.release();
  CHECK(session.receive().head.id == id_of<row::cuStreamSynchronize>());
  CHECK(session.receive().head.id == id_of<row::cuStreamQuery>());
}

TEST_CASE("a failed call surfaces once, at the next answer of its own thread") {
  FakeDriver fake;
  fake.fail_memset = CUDA_ERROR_ILLEGAL_ADDRESS;
  ServedSession session(fake.table());
  (void)open(session, {1, 2});
  Bytes memset = body(CUdeviceptr{0}, std::uint8_t{7}, std::uint64_t{1}, std::uint64_t{0});
  REQUIRE(session.post(id_of<row::cuMemsetD8Async>(), memset, 1).ok());
  Bytes stream = body(std::uint64_t{0});
  CHECK(session.ask(id_of<row::cuStreamQuery>(), stream, 2).status == CUDA_SUCCESS);
  CHECK(session.ask(id_of<row::cuStreamQuery>(), stream, 1).status == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(session.ask(id_of<row::cuStreamQuery>(), stream, 1).status == CUDA_SUCCESS);
  auto log = fake.log();
  CHECK(std::count(log.begin(), log.end(), "query") == 2);  // the one that reported did not run
}

TEST_CASE("what lets go of something is carried out although an earlier failure is reported") {
  FakeDriver fake;
  fake.fail_memset = CUDA_ERROR_INVALID_VALUE;
  api::Driver driver = fake.table();
  static int released = 0;
  released = 0;
  driver.cuUserObjectCreate = [](CUuserObject* object, void*, CUhostFn, unsigned, unsigned) {
    return *object = reinterpret_cast<CUuserObject>(0x7000), CUDA_SUCCESS;
  };
  driver.cuUserObjectRelease = [](CUuserObject, unsigned) { return ++released, CUDA_SUCCESS; };
  driver.cuGraphCreate = [](CUgraph* graph, unsigned) {
    return *graph = reinterpret_cast<CUgraph>(0x7100), CUDA_SUCCESS;
  };
  driver.cuGraphReleaseUserObject = [](CUgraph, CUuserObject, unsigned) {
    return ++released, CUDA_SUCCESS;
  };
  ServedSession session(driver);
  (void)open(session, {1});
  const auto object = session.ask(id_of<row::cuUserObjectCreate>(), body(hand::UserObject{1, 2, 0}))
                          .get<std::uint64_t>();
  const auto graph = session.ask(id_of<row::cuGraphCreate>(), body(0U)).get<std::uint64_t>();
  const Bytes memset = body(CUdeviceptr{0}, std::uint8_t{7}, std::uint64_t{1}, std::uint64_t{0});
  REQUIRE(session.post(id_of<row::cuMemsetD8Async>(), memset).ok());
  CHECK(session.ask(id_of<row::cuUserObjectRelease>(), body(object, 1U)).status ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(released == 1);
  REQUIRE(session.post(id_of<row::cuMemsetD8Async>(), memset).ok());
  CHECK(session.ask(id_of<row::cuGraphReleaseUserObject>(), body(graph, object, 1U)).status ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(released == 2);
}

TEST_CASE("a reply that reports another call's failure comes behind a notice of whose it is") {
  FakeDriver fake;
  fake.fail_memset = CUDA_ERROR_INVALID_VALUE;
  ServedSession session(fake.table());
  (void)open(session, {1, 2});
  Bytes stream = body(std::uint64_t{0});
  Bytes memset = body(CUdeviceptr{0}, std::uint8_t{7}, std::uint64_t{1}, std::uint64_t{0});
  for (int i = 0; i < 3; ++i) {
    REQUIRE(session.post(id_of<row::cuMemsetD8Async>(), memset, 1).ok());
  }
  (void)session.ask(id_of<row::cuStreamQuery>(), stream, 2);
  CHECK_FALSE(session.earlier.has_value());
  CHECK(session.ask(id_of<row::cuStreamQuery>(), stream, 1).status == CUDA_ERROR_INVALID_VALUE);
  REQUIRE(session.earlier.has_value());
  CHECK(session.earlier_thread == 1);
  CHECK(session.earlier->row == id_of<row::cuMemsetD8Async>());
  CHECK(session.earlier->call == 4);  // the opening, two bindings, and then
  CHECK(session.earlier->status == CUDA_ERROR_INVALID_VALUE);
  CHECK(session.earlier->others == 2);
  CHECK(session.earlier->function == 0);
  session.earlier.reset();
  // A launch of nothing that exists says what it was to launch.
  hand::Launch launch{};
  launch.function = 0x77;
  Bytes no_params = body(launch, hand::LaunchParams{hand::ParamForm::kBySizes, 0});
  REQUIRE(session.post(id_of<row::cuLaunchKernel>(), no_params, 1).ok());
  CHECK(session.ask(id_of<row::cuStreamQuery>(), stream, 1).status == CUDA_ERROR_INVALID_HANDLE);
  REQUIRE(session.earlier.has_value());
  CHECK(session.earlier->row == id_of<row::cuLaunchKernel>());
  CHECK(session.earlier->function == 0x77);
  CHECK(session.earlier->others == 0);
}

TEST_CASE("a call that ends something is carried out even when an earlier failure is reported") {
  FakeDriver fake;
  fake.fail_memset = CUDA_ERROR_ILLEGAL_ADDRESS;
  ServedSession session(fake.table());
  (void)open(session, {1});
  REQUIRE(session.post(id_of<row::cuEventCreate>(), body(kEvent, 0u)).ok());
  Bytes memset = body(CUdeviceptr{0}, std::uint8_t{7}, std::uint64_t{1}, std::uint64_t{0});
  REQUIRE(session.post(id_of<row::cuMemsetD8Async>(), memset).ok());
  Reply reply = session.ask(id_of<row::cuEventDestroy_v2>(), body(kEvent));
  CHECK(reply.status == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(reply.answers.empty());
  auto log = fake.log();
  CHECK(std::count(log.begin(), log.end(), "event-") == 1);
  CHECK(session.ask(id_of<row::cuEventQuery>(), body(kEvent)).status == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("call numbers go round without ever being 0") {
  CHECK(call_after(0) == 1);
  CHECK(call_after(UINT32_MAX - 1) == UINT32_MAX);
  CHECK(call_after(UINT32_MAX) == 1);
}

TEST_CASE("a capture is always relaxed, because our threads are not the client's") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1});
  std::uint32_t global = CU_STREAM_CAPTURE_MODE_GLOBAL;
  CHECK(session.ask(id_of<row::cuStreamBeginCapture_v2>(), body(std::uint64_t{0}, global)).status ==
        CUDA_SUCCESS);
  CHECK(fake.capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED);
}

TEST_CASE("a creation that failed leaves an id that is no handle, and says why") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1});
  REQUIRE(session.post(id_of<row::cuEventCreate>(), body(kEvent, 99u)).ok());
  CHECK(session.ask(id_of<row::cuEventQuery>(), body(kEvent)).status == CUDA_ERROR_INVALID_VALUE);
  CHECK(session.ask(id_of<row::cuEventQuery>(), body(kEvent)).status == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("each client thread has a default stream of its own, until it ends") {
  FakeDriver fake;
  ServedSession session(fake.table());
  (void)open(session, {1, 2});
  Bytes per_thread = body(std::uint64_t{2});
  (void)session.ask(id_of<row::cuStreamQuery>(), per_thread, 1);
  (void)session.ask(id_of<row::cuStreamQuery>(), per_thread, 1);
  (void)session.ask(id_of<row::cuStreamQuery>(), per_thread, 2);
  auto log = fake.log();
  CHECK(std::count(log.begin(), log.end(), "stream+") == 2);
  REQUIRE(session.post(id_of<row::end_thread>(), {}, 1).ok());
  (void)session.ask(id_of<row::cuStreamQuery>(), body(std::uint64_t{0}), 2);
  log = fake.log();
  CHECK(std::count(log.begin(), log.end(), "stream-") == 1);
}

TEST_CASE("what breaks the protocol ends the session and nothing more") {
  struct Case {
    const char* what;
    std::uint16_t id, flags;
    std::uint32_t call, thread;
    Bytes bytes;
  };
  std::uint16_t query = id_of<row::cuStreamQuery>();
  for (const Case& c : std::initializer_list<Case>{
           {"an id that no row has", 0xfe01, wire::kWantsReply, 0, 1, {}},
           {"a reply", query, wire::kReply, 0, 1, body(std::uint64_t{0})},
           {"a call number out of order", query, wire::kWantsReply, 77, 1, body(std::uint64_t{0})},
           {"thread 0", query, wire::kWantsReply, 0, 0, body(std::uint64_t{0})},
           {"a thread beyond the limit", query, wire::kWantsReply, 0, limits::kClientThreadsMax + 1,
            body(std::uint64_t{0})},
           {"a body too short", query, wire::kWantsReply, 0, 1, body(std::uint32_t{0})},
           {"a body too long", query, wire::kWantsReply, 0, 1, body(std::uint64_t{0}, 1u)},
           {"a payload where none belongs", query, wire::kWantsReply | wire::kBulkFollows, 0, 1,
            body(std::uint64_t{0})},
           {"another version of the opening", id_of<row::cuInit>(), wire::kWantsReply, 0, 1,
            body(hand::OpenRequest{7, 0})},
           {"a server of a number there is none", id_of<row::cuInit>(), wire::kWantsReply, 0, 1,
            body(hand::OpenRequest{hand::kOpenVersion, limits::kServersMax})},
       }) {
    CAPTURE(c.what);
    FakeDriver fake;
    ServedSession session(fake.table());
    wire::FrameHeader head{.id = c.id, .flags = c.flags, .call = c.call, .thread = c.thread};
    auto encode = [&](wire::Writer& out) { out.bytes(c.bytes.data(), c.bytes.size()); };
    REQUIRE(session.client().post(head, link::Flush::kNow, encode).ok());
    CHECK(session.wait().code() == Code::kMalformed);
  }
}

TEST_CASE("a session that ends while a call waits ends when the wait does") {
  FakeDriver fake;
  fake.hold_sync = true;
  ServedSession session(fake.table());
  (void)open(session, {1});
  REQUIRE(
      session.post(id_of<row::cuStreamSynchronize>(), body(std::uint64_t{0}), 1, wire::kWantsReply)
          .ok());
  fake.await("sync begins");
  session.client().close(Status(Code::kClosed, "gone"));
  fake.release();
  CHECK(session.wait().code() == Code::kClosed);
  CHECK(fake.contexts_alive == 0);
}

}  // namespace
}  // namespace farcall::server
