#include "gpu_server/watched_events.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "tests/support/switched.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// Events that are done when the test says so, in the order in which they were made.
struct EventDevice : FakeDriver {
  static inline std::mutex mutex;
  static inline std::vector<CUevent> made;
  static inline std::map<CUevent, CUresult> state;  // what is not here is done
  static inline int looks = 0;

  EventDevice() {
    made.clear();
    state.clear();
    looks = 0;
  }
  void set(std::size_t event, CUresult now) {
    std::lock_guard lock(mutex);
    state[made.at(event)] = now;
  }
  int looks_at_all() {
    std::lock_guard lock(mutex);
    return looks;
  }
  api::Driver table() {
    api::Driver driver = FakeDriver::table();
    driver.cuEventCreate = [](CUevent* event, unsigned) {
      std::lock_guard lock(mutex);
      made.push_back(reinterpret_cast<CUevent>(0x3000 + 16 * made.size()));
      return *event = made.back(), CUDA_SUCCESS;
    };
    driver.cuEventQuery = [](CUevent event) {
      std::lock_guard lock(mutex);
      ++looks;
      auto known = state.find(event);
      return known == state.end() ? CUDA_SUCCESS : known->second;
    };
    driver.cuEventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
    return driver;
  }
};

// A client with some events that it has asked for, each once.
struct Asker {
  EventDevice device;
  ServedSession session;
  std::uint32_t calls = 0;

  explicit Asker(std::size_t events, bool asks = true) : session(device.table()) {
    Reply opened = session.ask(row::cuInit::info().id, body(hand::OpenRequest{1, 0}));
    auto context = opened.get<hand::DeviceFacts>(sizeof(hand::OpenReply)).primary_context;
    REQUIRE(session.post(row::bind_context::info().id, body(context)).ok());
    calls = 2;
    for (std::size_t i = 0; i < events; ++i) {
      post(row::cuEventCreate::info().id, body(id(i), 0u));
      if (asks) ask_for(i);
    }
    CHECK(told().empty());
  }
  static std::uint64_t id(std::size_t event) { return 0x5000 + event; }
  std::uint32_t post(std::uint16_t id, const Bytes& bytes) {
    REQUIRE(session.post(id, bytes).ok());
    return ++calls;
  }
  std::uint32_t record(std::size_t event) {
    return post(row::cuEventRecord::info().id, body(id(event), std::uint64_t{0}));
  }
  CUresult ask_for(std::size_t event) {
    ++calls;
    return session.ask(row::cuEventQuery::info().id, body(id(event))).status;
  }
  // Makes a call that has nothing to do with events; what came ahead of its reply.
  std::vector<std::pair<std::uint64_t, std::uint32_t>> told() {
    session.told.clear();
    ++calls;
    CHECK(session.ask(row::cuStreamQuery::info().id, body(std::uint64_t{0})).status ==
          CUDA_SUCCESS);
    std::vector<std::pair<std::uint64_t, std::uint32_t>> all;
    for (const hand::EventDone& each : session.told) all.emplace_back(each.event, each.record);
    return all;
  }
};

using Told = std::vector<std::pair<std::uint64_t, std::uint32_t>>;

TEST_CASE("an event asked for before is told of when it is done, with the call that recorded it") {
  Switched all_on("");
  Asker asker(2);
  const std::uint32_t first = asker.record(0);
  asker.device.set(0, CUDA_ERROR_NOT_READY);
  CHECK(asker.told().empty());
  const std::uint32_t second = asker.record(1);
  CHECK(asker.told() == Told{{Asker::id(1), second}});
  CHECK(asker.told().empty());  // once
  asker.device.set(0, CUDA_SUCCESS);
  CHECK(asker.told() == Told{{Asker::id(0), first}});
  // Recorded twice: the second record is what is done.
  (void)asker.record(0);
  const std::uint32_t again = asker.record(0);
  CHECK(asker.told() == Told{{Asker::id(0), again}});
}

TEST_CASE("what a query answers itself is not told as well") {
  Switched all_on("");
  Asker asker(1);
  (void)asker.record(0);
  asker.session.told.clear();
  CHECK(asker.ask_for(0) == CUDA_SUCCESS);
  CHECK(asker.session.told.empty());
  CHECK(asker.told().empty());
}

TEST_CASE("the driver is not asked for events that no client asks for, nor in vain") {
  Switched all_on("");
  {
    Asker asker(3, false);
    for (std::size_t i = 0; i < 3; ++i) (void)asker.record(i);
    CHECK(asker.told().empty());
    CHECK(asker.device.looks_at_all() == 0);
  }
  Asker asker(1);
  const int before = asker.device.looks_at_all();
  CHECK(asker.told().empty());  // never recorded
  asker.device.set(0, CUDA_ERROR_ILLEGAL_ADDRESS);
  (void)asker.record(0);
  CHECK(asker.told().empty());
  CHECK(asker.device.looks_at_all() == before + 1);
  asker.device.set(0, CUDA_SUCCESS);
  CHECK(asker.told().empty());  // after an error it is the client's to ask
  CHECK(asker.device.looks_at_all() == before + 1);
}

TEST_CASE("an event recorded in a capture is left alone, also when it was watched before") {
  Switched all_on("");
  Asker asker(1);
  asker.device.set(0, CUDA_ERROR_NOT_READY);
  (void)asker.record(0);
  CHECK(asker.told().empty());
  const int before = asker.device.looks_at_all();
  asker.device.capturing = true;
  (void)asker.record(0);
  asker.device.set(0, CUDA_SUCCESS);
  CHECK(asker.told().empty());
  CHECK(asker.device.looks_at_all() == before);
}

TEST_CASE("what was destroyed, or whose context went, is not looked at any more") {
  Switched all_on("");
  Asker asker(2);
  asker.device.set(0, CUDA_ERROR_NOT_READY);
  asker.device.set(1, CUDA_ERROR_NOT_READY);
  (void)asker.record(0);
  (void)asker.record(1);
  CHECK(asker.told().empty());
  asker.post(row::cuEventDestroy_v2::info().id, body(Asker::id(0)));
  const int before = asker.device.looks_at_all();
  CHECK(asker.told().empty());
  CHECK(asker.device.looks_at_all() == before + 1);
  ++asker.calls;
  (void)asker.session.ask(row::cuDevicePrimaryCtxRelease_v2::info().id, body(std::int32_t{0}));
  CHECK(asker.told().empty());
  CHECK(asker.device.looks_at_all() <= before + 2);  // ahead of the release's own reply at most
}

TEST_CASE("looks before a reply and events that are known are bounded") {
  Switched all_on("");
  constexpr std::size_t kEvents = limits::kWatchedEventsMax + 5;
  Asker asker(kEvents);
  for (std::size_t i = 0; i < kEvents; ++i) {
    asker.device.set(i, CUDA_ERROR_NOT_READY);
    (void)asker.record(i);
  }
  int before = asker.device.looks_at_all();
  CHECK(asker.told().empty());
  CHECK(asker.device.looks_at_all() == before + static_cast<int>(limits::kToldEventsMax));
  for (std::size_t i = 0; i < kEvents; ++i) asker.device.set(i, CUDA_SUCCESS);
  std::size_t told = 0;
  for (Told now = asker.told(); !now.empty(); now = asker.told()) {
    CHECK(now.size() <= limits::kToldEventsMax);
    if (told == 0) CHECK(now[0].first == Asker::id(5));  // the first five made room; then in order
    told += now.size();
  }
  CHECK(told == limits::kWatchedEventsMax);
}

TEST_CASE("without tell-done nothing is told") {
  Switched off("tell-done");
  Asker asker(1);
  (void)asker.record(0);
  CHECK(asker.told().empty());
}

}  // namespace
}  // namespace farcall::server
