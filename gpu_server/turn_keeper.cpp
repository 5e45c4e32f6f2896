#include "gpu_server/turn_keeper.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

#include "transport/base/log.h"

namespace farcall::server {
namespace {

// Rings are counted by the kernel and never read: each one makes an edge, and whoever else holds
// the doorbell cannot take it away.
Status watch(const Fd& waiter, int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  if (::epoll_ctl(waiter.get(), EPOLL_CTL_ADD, fd, &event) == 0) return ok();
  return Status::system("watch a doorbell");
}

void ring(int doorbell) {
  const std::uint64_t one = 1;
  (void)!::write(doorbell, &one, sizeof one);
}

// At a moment of the clock's; one that has passed comes at once.
void set_timer(const Fd& timer, std::int64_t now_ns, std::int64_t at_ns) {
  itimerspec when{};
  if (at_ns != INT64_MAX) {
    const std::int64_t left_ns = std::max<std::int64_t>(1, at_ns - now_ns);
    when.it_value.tv_sec = left_ns / 1'000'000'000;
    when.it_value.tv_nsec = left_ns % 1'000'000'000;
  }
  (void)::timerfd_settime(timer.get(), 0, &when, nullptr);
}

}  // namespace

TurnKeeper::~TurnKeeper() {
  std::thread thread;
  {
    auto state = state_.lock();
    state->stops = true;
    thread = std::move(state->thread);
  }
  poke();
  if (thread.joinable()) thread.join();
}

Status TurnKeeper::start(State& state) {
  if (state.thread.joinable()) return ok();
  waiter_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  poke_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!waiter_ || !poke_ || !timer_) return Status::system("prepare turns on devices");
  FARCALL_TRY(watch(waiter_, poke_.get()));
  FARCALL_TRY(watch(waiter_, timer_.get()));
  try {
    state.thread = std::thread([this] { run(); });
  } catch (const std::exception& error) {
    return {Code::kSystem, std::string("start the thread that gives turns: ") + error.what()};
  }
  return ok();
}

Result<int> TurnKeeper::join(Ledger& ledger) {
  auto state = state_.lock();
  FARCALL_TRY(start(*state));
  Lease lease;
  lease.ledger = &ledger;
  lease.doorbell = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!lease.doorbell) return Status::system("make the doorbell of a lease");
  const int doorbell = lease.doorbell.get();
  FARCALL_TRY(watch(waiter_, doorbell));
  state->leases.emplace(state->next++, std::move(lease));
  return doorbell;
}

void TurnKeeper::leave(Ledger& ledger) {
  {
    auto state = state_.lock();
    auto found = std::find_if(state->leases.begin(), state->leases.end(),
                              [&](const auto& each) { return each.second.ledger == &ledger; });
    if (found == state->leases.end()) return;
    for (auto& [name, arbiter] : state->devices) arbiter.leave(found->first);
    std::erase_if(state->devices, [](const auto& each) { return each.second.is_empty(); });
    state->leases.erase(found);
  }
  poke();
}

void TurnKeeper::poke() {
  if (poke_) ring(poke_.get());
}

void TurnKeeper::run() {
  for (;;) {
    const std::int64_t at_ns = look();
    if (state_.lock()->stops) return;
    set_timer(timer_, clock_.now_ns(), at_ns);
    epoll_event events[16];
    (void)::epoll_wait(waiter_.get(), events, 16, -1);
  }
}

// A device that one of the lease's workers has named joins what that device is shared by.
void TurnKeeper::listen(State& state, Name name, Lease& lease, std::int64_t now_ns) {
  TurnWords& words = lease.ledger->turns();
  for (std::size_t number = 0; number < lease.devices.size(); ++number) {
    Device& device = lease.devices[number];
    if (device.name == 0) {
      device.name = words.devices[number];
      if (device.name == 0) continue;
      state.devices[device.name].join(name, lease.ledger->limits().compute_percent);
    }
    state.devices[device.name].note(name, words.word(number, lease.ledger->slots_used()), now_ns);
  }
}

void TurnKeeper::tell(State& state, Name name, Lease& lease) {
  for (std::size_t number = 0; number < lease.devices.size(); ++number) {
    Device& device = lease.devices[number];
    if (device.name == 0) continue;
    const Turn turn = state.devices[device.name].turn(name);
    if (turn == device.turn) continue;
    device.turn = turn;
    lease.ledger->turns().set_turn(number, turn);
  }
}

std::int64_t TurnKeeper::look() {
  auto state = state_.lock();
  const std::int64_t now_ns = clock_.now_ns();
  std::int64_t next_ns = INT64_MAX;
  for (auto& [name, lease] : state->leases) listen(*state, name, lease, now_ns);
  for (auto& [name, arbiter] : state->devices) {
    arbiter.tick(now_ns);
    next_ns = std::min(next_ns, arbiter.next_ns());
  }
  for (auto& [name, lease] : state->leases) tell(*state, name, lease);
  return next_ns;
}

}  // namespace farcall::server
