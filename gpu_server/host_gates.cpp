#include "gpu_server/host_gates.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpu_server/late_copies.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/link/session.h"
#include "transport/wire/reader.h"

namespace farcall::server {

namespace hand = api::hand;
namespace row = api::row;

struct HostGates::Gate {
  What what;
  Shared* shared = nullptr;
  bool is_reached = false;  // by the driver, now or earlier
  bool is_ended = false;    // its context has, or will at once
};

struct HostGates::Shared : std::enable_shared_from_this<Shared> {
  struct Waiting {
    std::uint64_t turn = 0;
    CUcontext context = nullptr;
  };
  struct State {
    std::unordered_map<Gate*, std::unique_ptr<Gate>> gates;
    std::deque<hand::HostTurn> turns;  // to tell the client
    std::vector<Waiting> shut;         // the driver waits at these
    std::uint64_t last_turn = 0;
    wire::FrameHeader awaiting{};  // call 0: the client does not
    std::size_t ahead = 0;         // awaits that were read ahead and come again
    bool is_closed = false;
  };
  // Every change of the gates ends with it.
  void count(const State& now) { gates.store(now.gates.size(), std::memory_order_relaxed); }

  Guarded<State> state;
  std::atomic<std::size_t> gates{0};
  std::condition_variable told;    // there is something to tell, or the session is over
  std::condition_variable opened;  // a gate, or all
};

HostGates::HostGates(link::Session& link, LateCopies& late_copies)
    : link_(link), late_copies_(late_copies), shared_(std::make_shared<Shared>()) {}

HostGates::~HostGates() {
  close();
  if (teller_.joinable()) teller_.join();
  // A driver that has not come to a gate yet may still do so; then it must be there. A worker's
  // process ends with its session, so nothing is kept for long.
  if (!any()) return;
  static auto* const kept = new Guarded<std::vector<std::shared_ptr<Shared>>>;
  kept->lock()->push_back(shared_);
}

bool HostGates::any() const { return shared_->gates.load(std::memory_order_relaxed) > 0; }

HostGates::Gate* HostGates::add(const What& what) {
  auto state = shared_->state.lock();
  // A gate that is gone may have left a turn, which the client has not asked for yet.
  const std::size_t taken = state->gates.size() + state->turns.size();
  if (state->is_closed || taken >= limits::kHostFunctionsMax) return nullptr;
  auto gate = std::make_unique<Gate>(Gate{.what = what, .shared = shared_.get()});
  Gate* added = gate.get();
  state->gates.emplace(added, std::move(gate));
  shared_->count(*state);
  return added;
}

void HostGates::remove(Gate* gate) {
  auto state = shared_->state.lock();
  state->gates.erase(gate);
  shared_->count(*state);
}

void HostGates::call_off(std::uint64_t id, CUresult why) {
  {
    auto state = shared_->state.lock();
    if (state->turns.size() < limits::kHostFunctionsMax) {
      state->turns.push_back({id, 0, static_cast<std::uint32_t>(why), 0});
      shared_->told.notify_one();
      return;
    }
  }
  link_.close(Status(Code::kMalformed, "more host functions than a client may have"));
}

void HostGates::refuse(const wire::FrameHeader& head, std::span<const std::byte> body,
                       CUresult why) {
  if (head.id != row::cuLaunchHostFunc::info().id &&
      head.id != row::cuStreamAddCallback::info().id) {
    return;
  }
  wire::Reader in(body);
  auto function = in.get<hand::HostFunction>();
  bool is_told_by_reply = (head.flags & wire::kWantsReply) != 0;
  if (!in.failed() && !is_told_by_reply) call_off(function.id, why);
}

void HostGates::at_function(void* gate) { pass(*static_cast<Gate*>(gate), CUDA_SUCCESS); }

void HostGates::at_callback(CUstream, CUresult status, void* gate) {
  pass(*static_cast<Gate*>(gate), status);
}

void HostGates::at_end(void* handed) {
  Gate& gate = *static_cast<Gate*>(handed);
  const std::shared_ptr<Shared> shared = gate.shared->shared_from_this();
  auto state = shared->state.lock();
  if (!state->is_closed) {
    state->turns.push_back({gate.what.id, ++state->last_turn, CUDA_SUCCESS, 0});
    shared->told.notify_one();
  }
  state->gates.erase(&gate);
  shared->count(*state);
}

std::uint64_t HostGates::id_of(const void* handed) const {
  auto state = shared_->state.lock();
  auto found = state->gates.find(static_cast<Gate*>(const_cast<void*>(handed)));
  return found == state->gates.end() ? 0 : found->second->what.id;
}

void HostGates::pass(Gate& gate, CUresult status) {
  // The session may end as soon as this has let go of its gate.
  const std::shared_ptr<Shared> shared = gate.shared->shared_from_this();
  auto state = shared->state.lock();
  if (!state->is_closed && !gate.is_ended) {
    const std::uint64_t turn = ++state->last_turn;
    gate.is_reached = true;
    state->turns.push_back({gate.what.id, turn, static_cast<std::uint32_t>(status),
                            gate.what.repeats ? hand::kHostAgain : 0});
    state->shut.push_back({turn, gate.what.context});
    shared->told.notify_one();
    state.wait(shared->opened, [&](const Shared::State& now) {
      return now.is_closed || std::none_of(now.shut.begin(), now.shut.end(),
                                           [&](auto& each) { return each.turn == turn; });
    });
  }
  if (gate.what.repeats) return;
  state->gates.erase(&gate);
  shared->count(*state);
}

bool HostGates::await(const wire::FrameHeader& head) {
  {
    auto state = shared_->state.lock();
    // What was read ahead comes again before anything that was not.
    if (state->ahead > 0) {
      --state->ahead;
      return true;
    }
  }
  return take_await(head);
}

void HostGates::await_ahead(const wire::FrameHeader& head) {
  if (take_await(head)) ++shared_->state.lock()->ahead;
}

bool HostGates::take_await(const wire::FrameHeader& head) {
  try {
    auto state = shared_->state.lock();
    if (state->awaiting.call != 0) return false;
    state->awaiting = head;
    if (!teller_.joinable()) teller_ = std::thread([this] { tell(); });
    shared_->told.notify_one();
  } catch (const std::system_error&) {
    // An end is better than functions that never run.
    link_.close(Status(Code::kSystem, "no thread for host functions"));
  }
  return true;
}

void HostGates::finish(std::uint64_t turn) {
  auto state = shared_->state.lock();
  if (turn == 0) return;  // those that were called off have none
  const auto is_it = [turn](const auto& each) { return each.turn == turn; };
  std::erase_if(state->shut, is_it);
  // Without having been told. It must not be left: a graph may come by as often as it likes.
  std::erase_if(state->turns, is_it);
  shared_->opened.notify_all();
}

void HostGates::end_context(CUcontext context) {
  if (context == nullptr || !any()) return;
  auto state = shared_->state.lock();
  for (auto& [key, gate] : state->gates) {
    if (gate->what.context != context || gate->is_ended) continue;
    gate->is_ended = true;
    if (gate->is_reached || gate->what.repeats) continue;
    state->turns.push_back({gate->what.id, 0, CUDA_ERROR_CONTEXT_IS_DESTROYED, 0});
  }
  std::erase_if(state->shut, [&](const auto& each) { return each.context == context; });
  shared_->opened.notify_all();
  shared_->told.notify_one();
}

void HostGates::close() {
  auto state = shared_->state.lock();
  state->is_closed = true;
  shared_->opened.notify_all();
  shared_->told.notify_one();
}

void HostGates::tell() {
  for (;;) {
    hand::HostTurn turn{};
    wire::FrameHeader head;
    {
      auto state = shared_->state.lock();
      state.wait(shared_->told, [](const Shared::State& now) {
        return now.is_closed || (now.awaiting.call != 0 && !now.turns.empty());
      });
      if (state->is_closed) return;
      turn = state->turns.front();
      state->turns.pop_front();
      head = std::exchange(state->awaiting, {});
    }
    late_copies_.send_complete();  // the function may look at what they brought
    head.flags = wire::kReply;
    head.body_bytes = 0;
    // A link that is closed wants no answer; whoever receives from it learns of that.
    (void)link_.post(head, link::Flush::kNow, [&](wire::Writer& out) {
      out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
      out.put(turn);
    });
  }
}

}  // namespace farcall::server
