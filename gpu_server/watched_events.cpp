#include "gpu_server/watched_events.h"

#include <algorithm>

#include "transport/api/rows.h"
#include "transport/base/switches.h"
#include "transport/link/session.h"

namespace farcall::server {

WatchedEvents::Watched* WatchedEvents::find(State& state, std::uint64_t event) {
  auto at = std::find_if(state.events.begin(), state.events.end(),
                         [&](const Watched& each) { return each.event == event; });
  return at == state.events.end() ? nullptr : &*at;
}

void WatchedEvents::set_record(Watched& watched, std::uint32_t record) {
  if (watched.record == 0 && record != 0) outstanding_.fetch_add(1, std::memory_order_release);
  if (watched.record != 0 && record == 0) outstanding_.fetch_sub(1, std::memory_order_release);
  watched.record = record;
}

void WatchedEvents::asked(std::uint64_t event, CUresult result) {
  if (!is_on(Switch::kTellDone)) return;
  if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY) return;
  auto state = state_.lock();
  if (Watched* known = find(*state, event); known != nullptr) {
    if (result == CUDA_SUCCESS) set_record(*known, 0);  // the answer tells it
    return;
  }
  if (state->events.size() < limits::kWatchedEventsMax) {
    state->events.push_back({event, 0});
    known_.store(state->events.size(), std::memory_order_release);
    return;
  }
  Watched& oldest = state->events[state->next];
  state->next = (state->next + 1) % limits::kWatchedEventsMax;
  set_record(oldest, 0);
  oldest.event = event;
}

bool WatchedEvents::forget_record(std::uint64_t event) {
  if (known_.load(std::memory_order_acquire) == 0) return false;
  auto state = state_.lock();
  Watched* known = find(*state, event);
  if (known != nullptr) set_record(*known, 0);
  return known != nullptr;
}

void WatchedEvents::recorded(std::uint64_t event, std::uint32_t call) {
  auto state = state_.lock();
  if (Watched* known = find(*state, event); known != nullptr) set_record(*known, call);
}

void WatchedEvents::forget_all() {
  auto state = state_.lock();
  for (Watched& each : state->events) set_record(each, 0);
}

// The oldest records first: they are the likeliest to be done.
WatchedEvents::Done WatchedEvents::look() {
  Done done;
  auto state = state_.lock();
  std::array<Watched*, limits::kWatchedEventsMax> waiting;
  std::size_t count = 0;
  for (Watched& each : state->events) {
    if (each.record != 0) waiting[count++] = &each;
  }
  const std::size_t looks = std::min(count, limits::kToldEventsMax);
  auto end_of_looks = waiting.begin() + static_cast<std::ptrdiff_t>(looks);
  // Numbers go round: what matters is which of two is behind the other.
  std::partial_sort(waiting.begin(), end_of_looks,
                    waiting.begin() + static_cast<std::ptrdiff_t>(count),
                    [](const Watched* one, const Watched* other) {
                      return static_cast<std::int32_t>(one->record - other->record) < 0;
                    });
  for (auto at = waiting.begin(); at != end_of_looks; ++at) {
    Watched& each = **at;
    auto* event = static_cast<CUevent>(handles_.find(Kind::kEvent, each.event));
    CUresult now = event == nullptr || driver_.cuEventQuery == nullptr
                       ? CUDA_ERROR_INVALID_HANDLE
                       : driver_.cuEventQuery(event);
    if (now == CUDA_ERROR_NOT_READY) continue;
    // Whatever else it says is for the client to hear when it asks itself.
    if (now == CUDA_SUCCESS) done.events[done.count++] = {each.event, each.record, 0};
    set_record(each, 0);
  }
  return done;
}

void WatchedEvents::tell(const Done& done) {
  wire::FrameHeader head{.id = api::row::events_done::info().id, .flags = wire::kReply};
  // A link that fails shows at the reply.
  (void)link_.post(head, link::Flush::kLater, [&](wire::Writer& out) {
    for (std::size_t i = 0; i < done.count; ++i) out.put(done.events[i]);
  });
}

}  // namespace farcall::server
