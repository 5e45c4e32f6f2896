#include "client_shim/host_functions.h"

#include "client_shim/client.h"
#include "client_shim/graph_copies.h"
#include "client_shim/process.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace farcall::shim {

namespace hand = api::hand;
namespace row = api::row;

bool HostFunctions::start(Guarded<State>::Held& state) {
  if (state->thread == Thread::kNone) {
    state->thread = Thread::kStarting;
    auto body = [](void* self) -> void* {
      static_cast<HostFunctions*>(self)->run();
      return nullptr;
    };
    if (!start_quiet_thread(body, this)) state->thread = Thread::kCannot;
  }
  state.wait(changed_, [](const State& now) { return now.thread != Thread::kStarting; });
  return state->thread == Thread::kRuns;
}

std::uint64_t HostFunctions::add(const Function& function) {
  auto state = state_.lock();
  if (!start(state)) return 0;
  state.wait(changed_, [](const State& now) {
    return now.entries.size() < limits::kHostFunctionsMax || now.is_over;
  });
  const std::uint64_t id = ++state->last_id;
  state->entries.emplace(id, Entry{function});
  outstanding_.store(state->entries.size(), std::memory_order_relaxed);
  return id;
}

std::optional<HostFunctions::Function> HostFunctions::find(std::uint64_t id) {
  auto state = state_.lock();
  auto at = state->entries.find(id);
  return at == state->entries.end() ? std::nullopt : std::optional(at->second.function);
}

void HostFunctions::sent(std::uint64_t id) {
  auto state = state_.lock();
  auto at = state->entries.find(id);
  if (at == state->entries.end() || at->second.is_sent) return;  // it has run already
  at->second.is_sent = true;
  ++state->expected;
  wanted_.notify_one();
}

void HostFunctions::remove(std::uint64_t id) {
  auto state = state_.lock();
  forget(*state, id);
}

void HostFunctions::forget(State& state, std::uint64_t id) {
  auto at = state.entries.find(id);
  if (at == state.entries.end()) return;
  if (at->second.is_sent) --state.expected;
  state.entries.erase(at);
  outstanding_.store(state.entries.size(), std::memory_order_relaxed);
  changed_.notify_all();
}

void HostFunctions::stop() {
  auto state = state_.lock();
  state->is_over = true;
  wanted_.notify_one();
  changed_.notify_all();
}

// Only this thread runs functions, and forgets those that were sent.
void HostFunctions::run() {
  const bool can = client_.begin_own_thread();
  {
    auto state = state_.lock();
    state->thread = can ? Thread::kRuns : Thread::kCannot;
    changed_.notify_all();
  }
  if (!can) return;
  for (;;) {
    {
      auto state = state_.lock();
      state.wait(wanted_, [](const State& now) { return now.expected > 0 || now.is_over; });
      if (state->is_over) return;
    }
    hand::HostTurn turn{};
    CUresult answered = client_.ask_quietly(row::await_host_function::info(), [&](Reply& reply) {
      turn = reply.in.get<hand::HostTurn>();
      return reply.status;
    });
    if (answered != CUDA_SUCCESS) return fail_all();
    if (!serve(turn)) return;
  }
}

// False when there is nobody left to run functions for.
bool HostFunctions::serve(const hand::HostTurn& turn) {
  const bool is_called_off = turn.turn == 0;
  const bool comes_again = (turn.flags & hand::kHostAgain) != 0;
  Function function;
  bool is_known = false;
  {
    auto state = state_.lock();
    if (state->is_over) return false;
    auto at = state->entries.find(turn.id);
    if (at != state->entries.end()) function = at->second.function;
    is_known = at != state->entries.end() && (!comes_again || function.may_repeat);
  }
  if (!is_known) {
    client_.session().close(Status(Code::kMalformed, "a turn of a host function that is not here"));
    fail_all();
    return false;
  }
  const auto status = static_cast<CUresult>(turn.status);
  const bool runs = function.callback != nullptr || !is_called_off;
  if (runs && comes_again) client_.graph_copies().before_function(turn.id);
  if (runs && !call(function, status)) return false;
  if (runs && comes_again) client_.graph_copies().after_function(turn.id);
  bool is_last = false;
  {
    auto state = state_.lock();
    if (!comes_again) forget(*state, turn.id);
    is_last = state->expected == 0;
  }
  // With the next await, if there is one.
  if (!is_called_off) client_.tell_finished(turn.turn, is_last);
  return true;
}

// False in the child of a fork that the function made.
bool HostFunctions::call(const Function& function, CUresult status) {
  ThreadState& thread = client_.this_thread();
  thread.in_host_function = true;
  if (function.callback != nullptr) {
    function.callback(function.stream, status, function.data);
  } else {
    function.function(function.data);
  }
  if (!is_open(client_)) return false;
  thread.in_host_function = false;
  return true;
}

void HostFunctions::fail_all() {
  for (;;) {
    Function function;
    {
      auto state = state_.lock();
      auto next = state->entries.begin();
      while (next != state->entries.end() &&
             (!next->second.is_sent || next->second.function.may_repeat ||
              next->second.function.callback == nullptr)) {
        ++next;
      }
      if (state->is_over || next == state->entries.end()) break;
      function = next->second.function;
      forget(*state, next->first);
    }
    if (!is_open(client_) || !call(function, kLinkLost)) return;
  }
  // Whoever waits for room finds the link lost.
  stop();
}

}  // namespace farcall::shim
