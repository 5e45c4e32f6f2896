// Gates of host functions against clients that do not keep to the protocol.
#include "gpu_server/host_gates.h"

#include <doctest/doctest.h>

#include <future>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "transport/api/hand.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

const std::uint16_t kLaunch = row::cuLaunchHostFunc::info().id;
const std::uint16_t kCallback = row::cuStreamAddCallback::info().id;
const std::uint16_t kAwait = row::await_host_function::info().id;
const std::uint16_t kFinish = row::finish_host_function::info().id;
const std::uint16_t kSynchronize = row::cuStreamSynchronize::info().id;

// One stream, whose host functions run on a thread of their own each and which synchronizes with
// the latest.
class HostDriver {
 public:
  HostDriver() { self() = this; }
  ~HostDriver() { self() = nullptr; }
  api::Driver table() {
    api::Driver driver = fake_.table();
    driver.cuLaunchHostFunc = [](CUstream, CUhostFn function, void* data) {
      self()->run([=] { function(data); });
      return CUDA_SUCCESS;
    };
    driver.cuStreamAddCallback = [](CUstream stream, CUstreamCallback callback, void* data,
                                    unsigned) {
      self()->run([=] { callback(stream, CUDA_SUCCESS, data); });
      return CUDA_SUCCESS;
    };
    // As if the queue of the stream were full.
    driver.cuMemsetD8Async = [](CUdeviceptr, unsigned char value, std::size_t, CUstream) {
      auto last = self()->last();
      if (last.valid()) last.wait();
      self()->filled.push_back(value);
      return CUDA_SUCCESS;
    };
    driver.cuStreamSynchronize = [](CUstream) {
      auto last = self()->last();
      if (last.valid()) last.wait();
      return CUDA_SUCCESS;
    };
    return driver;
  }
  std::vector<unsigned char> filled;  // in the order of the calls

 private:
  static HostDriver*& self() {
    static HostDriver* the_one = nullptr;
    return the_one;
  }
  void run(std::function<void()> call) {
    std::lock_guard lock(mutex_);
    running_.push_back(std::async(std::launch::async, std::move(call)).share());
  }
  std::shared_future<void> last() {
    std::lock_guard lock(mutex_);
    return running_.empty() ? std::shared_future<void>() : running_.back();
  }
  FakeDriver fake_;
  std::mutex mutex_;
  std::vector<std::shared_future<void>> running_;
};

void open(ServedSession& session) {
  Reply opened =
      session.ask(row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0}));
  REQUIRE(opened.status == CUDA_SUCCESS);
  auto context = opened.get<hand::DeviceFacts>(sizeof(hand::OpenReply)).primary_context;
  for (std::uint32_t thread : {1U, 2U, 3U}) {
    REQUIRE(session.post(row::bind_context::info().id, body(context), thread).ok());
  }
}

TEST_CASE("a stream waits at a gate until the client says that its function has run") {
  HostDriver driver;
  ServedSession session(driver.table());
  open(session);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{7, 0})).ok());
  REQUIRE(session.post(kSynchronize, body(std::uint64_t{0}), 1, wire::kWantsReply).ok());
  Reply turn = session.ask(kAwait, {}, 2);
  CHECK(turn.head.id == kAwait);  // so the synchronize was not answered
  CHECK(turn.head.thread == 2);
  auto what = turn.get<hand::HostTurn>();
  CHECK(what.id == 7);
  CHECK(what.turn != 0);
  CHECK(what.flags == 0);
  // What is no turn, or not this one, changes nothing.
  for (std::uint64_t wrong : {std::uint64_t{0}, what.turn + 1, ~std::uint64_t{0}}) {
    REQUIRE(session.post(kFinish, body(hand::FinishHostFunction{wrong}), 2).ok());
  }
  CHECK(session.ask(row::cuMemGetInfo_v2::info().id, {}, 2).head.thread == 2);
  REQUIRE(session.post(kFinish, body(hand::FinishHostFunction{what.turn}), 2).ok());
  CHECK(session.receive().head.id == kSynchronize);
  REQUIRE(session.post(kFinish, body(hand::FinishHostFunction{what.turn}), 2).ok());  // again
  CHECK(session.ask(kSynchronize, body(std::uint64_t{0})).status == CUDA_SUCCESS);
}

TEST_CASE("the client's word is read ahead of the calls that wait for it, which keep their order") {
  HostDriver driver;
  ServedSession session(driver.table());
  open(session);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{7, 0})).ok());
  auto turn = session.ask(kAwait, {}, 2).get<hand::HostTurn>().turn;
  constexpr int kFills = 30'000;  // more than a chunk of what is kept
  for (int i = 0; i < kFills; ++i) {
    auto fill =
        body(std::uint64_t{0}, static_cast<unsigned char>(i), std::uint64_t{1}, std::uint64_t{0});
    REQUIRE(session.post(row::cuMemsetD8Async::info().id, fill, i % 2 == 0 ? 1 : 3).ok());
  }
  REQUIRE(session.post(kFinish, body(hand::FinishHostFunction{turn}), 2).ok());
  CHECK(session.ask(kSynchronize, body(std::uint64_t{0})).status == CUDA_SUCCESS);
  REQUIRE(driver.filled.size() == kFills);
  int wrong = 0;
  for (int i = 0; i < kFills; ++i) {
    wrong += driver.filled[static_cast<std::size_t>(i)] == static_cast<unsigned char>(i) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("several requests may be read ahead of one call, and count once each") {
  HostDriver driver;
  ServedSession session(driver.table());
  open(session);
  for (std::uint64_t id : {7U, 8U})
    REQUIRE(session.post(kLaunch, body(hand::HostFunction{id, 0})).ok());
  auto fill =
      body(std::uint64_t{0}, static_cast<unsigned char>(1), std::uint64_t{1}, std::uint64_t{0});
  REQUIRE(session.post(row::cuMemsetD8Async::info().id, fill).ok());
  for (int i = 0; i < 2; ++i) {
    auto turn = session.ask(kAwait, {}, 2).get<hand::HostTurn>().turn;
    // The next request is on its way before the driver goes on.
    if (i == 1) REQUIRE(session.post(kAwait, {}, 2, wire::kWantsReply).ok());
    REQUIRE(session.post(kFinish, body(hand::FinishHostFunction{turn}), 2).ok());
  }
  CHECK(session.ask(kSynchronize, body(std::uint64_t{0})).status == CUDA_SUCCESS);
  CHECK(driver.filled.size() == 1);
}

TEST_CASE("a link that ends while a driver holds up a call ends the session") {
  HostDriver driver;
  ServedSession session(driver.table());
  open(session);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{7, 0})).ok());
  CHECK(session.ask(kAwait, {}, 2).get<hand::HostTurn>().turn != 0);
  auto fill =
      body(std::uint64_t{0}, static_cast<unsigned char>(1), std::uint64_t{1}, std::uint64_t{0});
  REQUIRE(session.post(row::cuMemsetD8Async::info().id, fill).ok());
  (void)session.end();  // returns
  CHECK(driver.filled.size() == 1);
}

TEST_CASE("a session that ends opens its gates") {
  HostDriver driver;
  ServedSession session(driver.table());
  open(session);
  for (std::uint64_t id : {1U, 2U, 3U}) {
    REQUIRE(session.post(kCallback, body(hand::HostFunction{id, 0})).ok());
  }
  REQUIRE(session.post(kSynchronize, body(std::uint64_t{0}), 1, wire::kWantsReply).ok());
  CHECK(session.ask(kAwait, {}, 2).get<hand::HostTurn>().turn != 0);
  (void)session.end();  // returns
}

TEST_CASE("a client awaits one turn at a time, and with an answer") {
  HostDriver driver;
  ServedSession twice(driver.table());
  REQUIRE(twice.post(kAwait, {}, 1, wire::kWantsReply).ok());
  REQUIRE(twice.post(kAwait, {}, 2, wire::kWantsReply).ok());
  CHECK(twice.wait().code() == Code::kMalformed);
  ServedSession silent(driver.table());
  REQUIRE(silent.post(kAwait, {}).ok());
  CHECK(silent.wait().code() == Code::kMalformed);
}

TEST_CASE("a function that could not be enqueued is called off, unless the reply says so") {
  FakeDriver fake;  // without host functions
  ServedSession session(fake.table());
  open(session);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{5, 0})).ok());
  auto off = session.ask(kAwait, {}, 2).get<hand::HostTurn>();
  CHECK(off.id == 5);
  CHECK(off.turn == 0);
  CHECK(off.status == CUDA_ERROR_NOT_SUPPORTED);
  (void)session.ask(kSynchronize, body(std::uint64_t{0}));  // the failure that was left
  CHECK(session.ask(kLaunch, body(hand::HostFunction{6, 0})).status == CUDA_ERROR_NOT_SUPPORTED);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{8, 0})).ok());
  CHECK(session.ask(kAwait, {}, 2).get<hand::HostTurn>().id == 8);
}

TEST_CASE("failures that a client never asks for are bounded") {
  FakeDriver fake;
  ServedSession session(fake.table());
  open(session);
  Status posted = ok();
  for (std::size_t i = 0; i <= limits::kHostFunctionsMax && posted.ok(); ++i) {
    posted = session.post(kLaunch, body(hand::HostFunction{i, 0}));
  }
  CHECK(session.wait().code() == Code::kMalformed);
}

// A driver with one user object at a time, whose last reference takes it along.
api::Driver with_user_objects(api::Driver driver) {
  static void* handed = nullptr;
  static CUhostFn end = nullptr;
  driver.cuUserObjectCreate = [](CUuserObject* object, void* data, CUhostFn destroy, unsigned,
                                 unsigned) {
    handed = data;
    end = destroy;
    return *object = reinterpret_cast<CUuserObject>(0x7000), CUDA_SUCCESS;
  };
  driver.cuUserObjectRelease = [](CUuserObject, unsigned) {
    if (end != nullptr) std::exchange(end, nullptr)(handed);
    return CUDA_SUCCESS;
  };
  return driver;
}

TEST_CASE("ends of user objects that a client never asks for are bounded") {
  const std::uint16_t create = row::cuUserObjectCreate::info().id;
  const std::uint16_t release = row::cuUserObjectRelease::info().id;
  FakeDriver fake;
  ServedSession session(with_user_objects(fake.table()));
  open(session);
  const auto object = session.ask(create, body(hand::UserObject{1, 1, 0})).get<std::uint64_t>();
  REQUIRE(session.post(release, body(object, 1U)).ok());
  for (std::size_t i = 1; i < limits::kHostFunctionsMax; ++i) {
    REQUIRE(session.post(create, body(hand::UserObject{1, 1, 0})).ok());
    REQUIRE(session.post(release, body(object, 1U)).ok());
  }
  CHECK(session.ask(create, body(hand::UserObject{1, 1, 0})).status == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(session.ask(kAwait, {}, 2).get<hand::HostTurn>().id == 1);
  CHECK(session.ask(create, body(hand::UserObject{1, 1, 0})).status == CUDA_SUCCESS);
}

TEST_CASE("a turn that its client finished without asking for it is not told any more") {
  HostDriver driver;
  ServedSession session(driver.table());
  open(session);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{7, 0})).ok());
  REQUIRE(session.post(kSynchronize, body(std::uint64_t{0}), 3, wire::kWantsReply).ok());
  // Until the driver has come to the gate, whose turn is the first.
  while (session.ask(kFinish, body(hand::FinishHostFunction{1})).head.id == kFinish) {
  }
  CHECK(session.receive().head.id == kFinish);
  REQUIRE(session.post(kLaunch, body(hand::HostFunction{8, 0})).ok());
  CHECK(session.ask(kAwait, {}, 2).get<hand::HostTurn>().id == 8);
}

}  // namespace
}  // namespace farcall::server
