// Launches that wait for their lease's turn: a worker's side with the test as supervisor, and the
// supervisor's with the test as workers. Whoever waits is woken by a bell, so nothing here is
// timed.
#include "gpu_server/launch_gate.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <string>
#include <string_view>

#include "gpu_server/ledger_book.h"
#include "transport/api/dispatch.h"

namespace farcall::server {
namespace {

// One device that computes until it is told to end.
struct BusyDevice {
  static inline std::atomic<int> launches{0};
  static inline std::atomic<int> waits{0};      // threads that ever waited for an event
  static inline std::atomic<bool> busy{false};  // no event comes about
  static inline std::atomic<bool> capturing{false};

  static api::Driver table() {
    launches = waits = 0;
    busy = capturing = false;
    api::Driver driver;
    driver.cuCtxGetCurrent = [](CUcontext* context) {
      return *context = reinterpret_cast<CUcontext>(0x1000), CUDA_SUCCESS;
    };
    driver.cuCtxSetCurrent = [](CUcontext) { return CUDA_SUCCESS; };
    driver.cuCtxGetDevice = [](CUdevice* device) { return *device = 0, CUDA_SUCCESS; };
    driver.cuStreamIsCapturing = [](CUstream, CUstreamCaptureStatus* status) {
      *status = capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
      return CUDA_SUCCESS;
    };
    driver.cuEventCreate = [](CUevent* event, unsigned) {
      return *event = reinterpret_cast<CUevent>(0x2000), CUDA_SUCCESS;
    };
    driver.cuEventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
    driver.cuEventQuery = [](CUevent) { return busy ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS; };
    driver.cuEventSynchronize = [](CUevent) {
      ++waits;
      waits.notify_all();
      busy.wait(true);
      return CUDA_SUCCESS;
    };
    driver.cuLaunchKernel = [](CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,
                               unsigned, unsigned, CUstream, void**,
                               void**) { return ++launches, CUDA_SUCCESS; };
    driver.cuStreamDestroy_v2 = [](CUstream) { return CUDA_SUCCESS; };
    return driver;
  }
  static void end() {
    busy = false;
    busy.notify_all();
  }
};

std::unique_ptr<Ledger> new_ledger() {
  auto ledger = Ledger::create({});
  REQUIRE(ledger.ok());
  return std::move(ledger).value();
}

struct Fixture {
  api::Driver real = BusyDevice::table();
  std::unique_ptr<Ledger> ledger = new_ledger();
  Fd bell{::eventfd(0, EFD_CLOEXEC)};
  LaunchGate gate{real, *ledger, Fd(::fcntl(bell.get(), F_DUPFD_CLOEXEC, 0))};
  TurnWords& words = ledger->turns();
  TurnWords::Cell& cell = words.cells[0][0];

  CUresult launch() {
    return gate.driver().cuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  }
  // Until `holds`, looking after each ring.
  template <class Holds>
  void await(Holds holds) {
    while (!holds()) {
      std::uint64_t rings = 0;
      REQUIRE(::read(bell.get(), &rings, sizeof rings) == sizeof rings);
    }
  }
};

TEST_CASE("every row that makes a device compute is gated or says why not") {
  std::map<std::string, bool> decided;
#define GATED(F) decided[#F] = true;
#define UNGATED(F, WHY) decided[#F] = false;
#include "gpu_server/launch_gate_rows.def"
#undef GATED
#undef UNGATED
  std::size_t seen = 0;
  for (unsigned family = 0; family < 256; ++family) {
    for (const api::ServedRow& row : api::family_rows(static_cast<std::uint8_t>(family))) {
      const std::string name(row.info.name);
      const bool computes =
          name.find("Launch") != std::string::npos || name.starts_with("cuMemset");
      if (!name.starts_with("cu") || !computes) continue;
      ++seen;
      CHECK_MESSAGE(decided.contains(name), name,
                    " may make a device compute: decide in gpu_server/launch_gate_rows.def");
    }
  }
  CHECK(seen > 12);
  api::Driver real;
  api::load_driver(real, [](const char* symbol) {
    return reinterpret_cast<void*>(0x1000 + std::hash<std::string_view>()(symbol) % 0x7fff'0000);
  });
  auto ledger = new_ledger();
  const LaunchGate gate(real, *ledger, Fd(::eventfd(0, EFD_CLOEXEC)));
  std::string wrong;
#define GATED(F) \
  if (gate.driver().F == real.F) wrong += #F " ";
#define UNGATED(F, WHY) \
  if (gate.driver().F != real.F) wrong += #F " ";
#include "gpu_server/launch_gate_rows.def"
#undef GATED
#undef UNGATED
  CHECK(wrong.empty());
}

TEST_CASE("a launch asks and waits until its lease has its turn, and then asks no more") {
  Fixture f;
  std::thread client([&] { CHECK(f.launch() == CUDA_SUCCESS); });
  f.await([&] { return f.cell.is_in == 1; });
  CHECK(f.words.devices[0] != 0);
  CHECK(BusyDevice::launches == 0);
  f.words.set_turn(0, Turn::kOpen);
  client.join();
  CHECK(BusyDevice::launches == 1);
  for (int i = 0; i < 100; ++i) CHECK(f.launch() == CUDA_SUCCESS);
  CHECK(BusyDevice::waits == 0);
}

TEST_CASE("a worker that is shut answers when all that it launched is done, not before") {
  Fixture f;
  f.words.set_turn(0, Turn::kOpen);
  REQUIRE(f.launch() == CUDA_SUCCESS);
  BusyDevice::busy = true;
  f.words.set_turn(0, Turn::kShut);
  BusyDevice::waits.wait(0);
  CHECK(f.cell.done != f.words.turns[0]);
  CHECK_FALSE(f.words.word(0, 1).is_done);
  BusyDevice::end();
  f.await([&] { return f.cell.done == f.words.turns[0]; });
  CHECK(f.cell.is_in == 0);  // nothing waits here
  CHECK(f.words.word(0, 1).is_done);
  // It was open when it launched last, but somebody else of the lease made it so now.
  f.words.set_turn(0, Turn::kOpen);
  REQUIRE(f.launch() == CUDA_SUCCESS);
  CHECK(f.cell.is_in == 1);
}

TEST_CASE(
    "in its turn a worker has few launches under way, and gives back a turn it does not use") {
  Fixture f;
  f.words.set_turn(0, Turn::kTurn);
  BusyDevice::busy = true;
  std::thread client([&] {
    for (int i = 0; i < 40; ++i) CHECK(f.launch() == CUDA_SUCCESS);
  });
  BusyDevice::waits.wait(0);
  CHECK(BusyDevice::launches <= 32);
  BusyDevice::end();
  client.join();
  CHECK(BusyDevice::launches == 40);
  f.await([&] { return f.cell.is_in == 0; });
}

TEST_CASE("launches that a capture records need no turn") {
  Fixture f;
  BusyDevice::capturing = true;
  CHECK(f.launch() == CUDA_SUCCESS);
  CHECK(f.cell.is_in == 0);
}

// --- the supervisor's side

struct Worker {
  Worker(LeaseBook& book, const std::string& lease, unsigned percent)
      : seat(entered(book, lease, percent)), bell(seat.doorbell_fd()) {
    auto joined = Ledger::join(Fd(::fcntl(seat.ledger_fd(), F_DUPFD_CLOEXEC, 0)), seat.slot());
    REQUIRE(joined.ok());
    ledger = std::move(joined).value();
  }
  static LeaseSeat entered(LeaseBook& book, const std::string& lease, unsigned percent) {
    LeaseLimits limits;
    limits.compute_percent = percent;
    auto seat = book.enter(lease, limits, 0);
    REQUIRE(seat.ok());
    return std::move(seat).value();
  }
  TurnWords& words() { return ledger->turns(); }
  TurnWords::Cell& cell() { return words().cells[seat.slot()][0]; }
  void ring() const {
    const std::uint64_t one = 1;
    REQUIRE(::write(bell, &one, sizeof one) == sizeof one);
  }
  void ask() {
    words().devices[0] = 7;
    cell().is_in = 1;
    ring();
  }
  // Until the turn is another than `turn`.
  void await_other_than(Turn turn) {
    for (std::uint32_t seen = words().changes; turn_of(words().turns[0]) == turn;
         seen = words().changes) {
      words().await_change(seen, -1);
    }
  }
  void answer() {
    cell().done = words().turns[0].load();
    ring();
  }

  LeaseSeat seat;
  int bell;
  std::unique_ptr<Ledger> ledger;
};

TEST_CASE("the supervisor takes a device from one lease, gives it to the next, and back") {
  LeaseBook book;
  Worker ann(book, "ann", 30);
  ann.ask();
  ann.await_other_than(Turn::kShut);
  CHECK(turn_of(ann.words().turns[0]) == Turn::kOpen);
  auto ben = std::make_unique<Worker>(book, "ben", 70);
  ben->ask();
  ann.await_other_than(Turn::kOpen);
  CHECK(turn_of(ben->words().turns[0]) == Turn::kShut);
  ann.answer();
  for (int i = 0; i < 3; ++i) {
    ben->await_other_than(Turn::kShut);
    CHECK(turn_of(ann.words().turns[0]) == Turn::kShut);
    ben->await_other_than(Turn::kTurn);
    ben->answer();
    ann.await_other_than(Turn::kShut);
    CHECK(turn_of(ben->words().turns[0]) == Turn::kShut);
    ann.await_other_than(Turn::kTurn);
    if (i < 2) ann.answer();
  }
  // It ends while it still owes an answer: it is waited for no more, and alone the device is open.
  ann.answer();
  ben->await_other_than(Turn::kShut);
  ben.reset();
  ann.await_other_than(Turn::kShut);
  CHECK(turn_of(ann.words().turns[0]) == Turn::kOpen);
}

TEST_CASE("a session that ends in its turn gives it back though others of its lease go on") {
  LeaseBook book;
  Worker ann(book, "ann", 50);
  Worker ben(book, "ben", 50);
  auto other = std::make_unique<Worker>(book, "ben", 50);
  ann.ask();
  ann.await_other_than(Turn::kShut);
  other->ask();
  ann.await_other_than(Turn::kOpen);
  ann.answer();
  ben.await_other_than(Turn::kShut);  // the same lease
  other.reset();
  ann.await_other_than(Turn::kShut);
}

}  // namespace
}  // namespace farcall::server
