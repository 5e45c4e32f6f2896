// The ledger of a lease and the book of leases.
#include "gpu_server/ledger.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "gpu_server/ledger_book.h"

namespace farcall::server {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr Place kMemory{Account::kMemory, 0};

LeaseLimits memory_of(std::uint64_t bytes) {
  LeaseLimits limits;
  limits.memory_bytes = bytes;
  return limits;
}

std::unique_ptr<Ledger> made(const LeaseLimits& limits) {
  auto ledger = Ledger::create(limits);
  REQUIRE(ledger.ok());
  return std::move(ledger).value();
}

// As another process would see it: mapped once more.
std::unique_ptr<Ledger> joined(Ledger& supervisor, unsigned* slot = nullptr) {
  auto taken = supervisor.take_slot();
  REQUIRE(taken.has_value());
  if (slot != nullptr) *slot = *taken;
  auto ledger = Ledger::join(Fd(::fcntl(supervisor.fd(), F_DUPFD_CLOEXEC, 0)), *taken);
  REQUIRE_MESSAGE(ledger.ok(), ledger.status().text());
  return std::move(ledger).value();
}

TEST_CASE("the workers of a lease share what it has") {
  auto supervisor = made(memory_of(100 * kMiB));
  auto first = joined(*supervisor);
  auto second = joined(*supervisor);
  CHECK(second->limits() == supervisor->limits());
  CHECK(first->charge(kMemory, 60 * kMiB));
  CHECK(!second->charge(kMemory, 41 * kMiB));
  CHECK(second->held(kMemory) == 60 * kMiB);
  CHECK(second->charge(kMemory, 40 * kMiB));
  CHECK(!first->charge(kMemory, 1));
  first->give_back(kMemory, 10 * kMiB);
  CHECK(second->charge(kMemory, 10 * kMiB));
  CHECK(first->own(kMemory) == 50 * kMiB);
  CHECK(second->own(kMemory) == 50 * kMiB);
  CHECK(supervisor->held(kMemory) == 100 * kMiB);
  CHECK(supervisor->peak(kMemory) == 100 * kMiB);
}

TEST_CASE("what a worker that died held is given back by the supervisor") {
  auto supervisor = made(memory_of(100 * kMiB));
  unsigned slot = 0;
  auto dying = joined(*supervisor, &slot);
  auto living = joined(*supervisor);
  CHECK(dying->charge(kMemory, 90 * kMiB));
  CHECK(!living->charge(kMemory, 20 * kMiB));
  dying.reset();  // nothing is given back by going
  CHECK(supervisor->held(kMemory) == 90 * kMiB);
  supervisor->leave(slot);
  CHECK(supervisor->held(kMemory) == 0);
  CHECK(living->charge(kMemory, 100 * kMiB));
  CHECK(supervisor->take_slot() == slot);
  CHECK(supervisor->held(kMemory) == 100 * kMiB);
}

TEST_CASE("accounts and devices are counted apart") {
  LeaseLimits limits = memory_of(10);
  limits.image_bytes_max = 20;
  limits.in_flight_bytes_max = 30;
  auto supervisor = made(limits);
  auto worker = joined(*supervisor);
  CHECK(worker->charge({Account::kMemory, 0}, 10));
  CHECK(worker->charge({Account::kMemory, 1}, 10));
  CHECK(worker->charge({Account::kImages}, 20));
  CHECK(worker->charge({Account::kInFlight}, 30));
  CHECK(!worker->charge({Account::kMemory, 1}, 1));
  CHECK(!worker->charge({Account::kImages}, 1));
  CHECK(!worker->charge({Account::kInFlight}, 1));
  // Devices beyond what is counted apart share the last figure; none is uncounted.
  CHECK(worker->charge({Account::kMemory, 40}, 10));
  CHECK(!worker->charge({Account::kMemory, 1000}, 1));
  CHECK(!worker->charge({Account::kMemory, -1}, 1));
}

TEST_CASE("without a limit all is granted and counted, and no sum overflows") {
  auto supervisor = made({});
  auto worker = joined(*supervisor);
  CHECK(worker->charge(kMemory, UINT64_MAX));
  CHECK(worker->charge(kMemory, UINT64_MAX));
  CHECK(worker->held(kMemory) == UINT64_MAX);
  auto limited = made(memory_of(kMiB));
  CHECK(limited->charge(kMemory, 1));
  CHECK(!limited->charge(kMemory, UINT64_MAX));
  limited->give_back(kMemory, UINT64_MAX);  // at most what is held
  CHECK(limited->held(kMemory) == 0);
}

TEST_CASE("workers that take and give back at the same time never have more than the lease") {
  constexpr std::uint64_t kMost = 1000;
  auto supervisor = made(memory_of(kMost));
  std::atomic<bool> exceeded{false};
  std::atomic<int> granted{0};
  std::atomic<std::uint64_t> really{0};
  std::vector<std::unique_ptr<Ledger>> workers;
  for (int i = 0; i < 4; ++i) workers.push_back(joined(*supervisor));
  std::vector<std::thread> threads;
  for (auto& worker : workers) {
    threads.emplace_back([&, mine = worker.get()] {
      for (int turn = 0; turn < 20'000; ++turn) {
        const std::uint64_t bytes = 1 + static_cast<std::uint64_t>(turn * 7 % 400);
        if (!mine->charge(kMemory, bytes)) continue;
        if (really.fetch_add(bytes) + bytes > kMost) exceeded = true;
        ++granted;
        really -= bytes;
        mine->give_back(kMemory, bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(!exceeded);
  CHECK(granted > 0);
  CHECK(supervisor->held(kMemory) == 0);
}

TEST_CASE("only a ledger can be joined") {
  auto supervisor = made({});
  Fd other(::memfd_create("other", MFD_CLOEXEC));
  CHECK(!Ledger::join(Fd(::fcntl(other.get(), F_DUPFD_CLOEXEC, 0)), 0).ok());
  REQUIRE(::ftruncate(other.get(), ::lseek(supervisor->fd(), 0, SEEK_END)) == 0);
  auto empty = Ledger::join(Fd(::fcntl(other.get(), F_DUPFD_CLOEXEC, 0)), 0);
  CHECK(empty.status().code() == Code::kMalformed);
  auto beyond = Ledger::join(Fd(::fcntl(supervisor->fd(), F_DUPFD_CLOEXEC, 0)), 100'000);
  CHECK(beyond.status().code() == Code::kMalformed);
  CHECK(!Ledger::join(Fd(), 0).ok());
}

TEST_CASE("no worker can cut the ledger of its lease short") {
  auto supervisor = made({});
  CHECK(::ftruncate(supervisor->fd(), 1) != 0);
  CHECK(::ftruncate(supervisor->fd(), 1 << 24) != 0);
}

TEST_CASE("a driver's granularity is charged, not the bytes asked for") {
  CHECK(charged_bytes(0) == 0);
  CHECK(charged_bytes(1) == 512);
  CHECK(charged_bytes(kMiB) == kMiB);
  CHECK(charged_bytes(kMiB + 1) == 2 * kMiB);
  CHECK(charged_bytes(std::uint64_t{1} << 30) == std::uint64_t{1} << 30);
  CHECK(charged_bytes(UINT64_MAX) == UINT64_MAX);
}

TEST_CASE("a lease has as many sessions as it may, and another lease goes on") {
  LeaseBook book;
  LeaseLimits limits = memory_of(kMiB);
  limits.sessions_max = 2;
  auto first = book.enter("ann", limits, 0);
  REQUIRE(first.ok());
  auto other = book.enter("ben", limits, 0);
  REQUIRE(other.ok());
  {
    auto second = book.enter("ann", limits, 0);
    REQUIRE(second.ok());
    CHECK(second->slot() != first->slot());
    CHECK(&second->ledger() == &first->ledger());
    CHECK(&other->ledger() != &first->ledger());
    auto third = book.enter("ann", limits, 0);
    CHECK(third.status().code() == Code::kOverQuota);
    CHECK(third.status().text().find("all 2 of its sessions") != std::string::npos);
    CHECK(book.enter("ben", limits, 0).ok());
  }
  CHECK(book.sessions("ann") == 1);
  CHECK(book.enter("ann", limits, 0).ok());
}

TEST_CASE("a session waits for one of its lease that is ending") {
  LeaseBook book;
  LeaseLimits limits;
  limits.sessions_max = 1;
  auto first = std::make_unique<Result<LeaseSeat>>(book.enter("ann", limits, 0));
  REQUIRE(first->ok());
  std::atomic<bool> entered{false};
  std::thread next([&] { entered = book.enter("ann", limits, 60'000).ok(); });
  first.reset();
  next.join();
  CHECK(entered);
}

TEST_CASE("what a session held is free again when its seat is given up") {
  LeaseBook book;
  auto stays = book.enter("ann", memory_of(10), 0);
  REQUIRE(stays.ok());
  {
    auto goes = book.enter("ann", memory_of(10), 0);
    REQUIRE(goes.ok());
    auto worker = Ledger::join(Fd(::fcntl(goes->ledger_fd(), F_DUPFD_CLOEXEC, 0)), goes->slot());
    REQUIRE(worker.ok());
    CHECK(worker.value()->charge(kMemory, 10));
    CHECK(stays->ledger().held(kMemory) == 10);
  }
  CHECK(stays->ledger().held(kMemory) == 0);
  // A lease that ended begins anew, with the limits it is then given.
  { auto gone = std::move(stays).value(); }
  auto again = book.enter("ann", memory_of(20), 0);
  REQUIRE(again.ok());
  CHECK(again->ledger().limits().memory_bytes == 20);
}

}  // namespace
}  // namespace farcall::server
