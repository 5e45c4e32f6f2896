#include "client_shim/completions.h"

#include <algorithm>
#include <bitset>

#include "transport/api/rows.h"
#include "transport/base/limits.h"

namespace farcall::shim {
namespace {

namespace row = api::row;

// Rows that start nothing on a device, or nothing that outlives their reply. Every other row
// counts: a row that is missing here costs a round trip, one too many would cost correctness.
std::bitset<65536> quiet_rows() {
  std::bitset<65536> quiet;
  for (const api::RowInfo* info : {&row::cuCtxSynchronize::info(),
                                   &row::cuCtxSynchronize_v2::info(),
                                   &row::cuStreamSynchronize::info(),
                                   &row::cuEventSynchronize::info(),
                                   &row::cuStreamQuery::info(),
                                   &row::cuEventQuery::info(),
                                   &row::cuEventElapsedTime::info(),
                                   &row::cuEventElapsedTime_v2::info(),
                                   &row::cuEventCreate::info(),
                                   &row::cuStreamCreate::info(),
                                   &row::cuStreamCreateWithPriority::info(),
                                   &row::cuMemAlloc_v2::info(),
                                   &row::cuMemGetInfo_v2::info(),
                                   &row::cuMemcpyDtoH_v2::info(),
                                   &row::cuStreamIsCapturing::info(),
                                   &row::cuStreamGetFlags::info(),
                                   &row::cuStreamGetPriority::info(),
                                   &row::cuStreamGetId::info(),
                                   &row::await_host_function::info(),
                                   &row::finish_host_function::info()}) {
    quiet.set(info->id);
  }
  return quiet;
}

}  // namespace

bool Completions::may_start_work(const api::RowInfo& row, bool asked) {
  static const std::bitset<65536> quiet = quiet_rows();
  // Waited for, it has been done by its reply.
  if (asked && row.id == row::cuMemcpyDtoHAsync_v2::info().id) return false;
  return row.when != api::When::Cached && !quiet[row.id];
}

bool Completions::is_proven(const State& state, const WorkPlace& place, std::uint64_t work,
                            Proof proof) {
  auto holds = [&](const WorkPlace& wanted) {
    return std::any_of(state.idle.begin(), state.idle.end(), [&](const Idle& idle) {
      return idle.place == wanted && idle.up_to(proof) >= work;
    });
  };
  if (holds(place)) return true;
  if (!place.is_stream) return false;
  if (place.is_default_stream()) return holds(WorkPlace::whole(place.context));
  auto made = state.streams.find(place.stream);
  return made != state.streams.end() && holds(WorkPlace::whole(made->second));
}

void Completions::prove(State& state, const WorkPlace& place, std::uint64_t work, Proof proof) {
  auto at = std::find_if(state.idle.begin(), state.idle.end(),
                         [&](const Idle& idle) { return idle.place == place; });
  Idle fresh{place, 0, 0};
  Idle& idle = at == state.idle.end() ? fresh : *at;
  idle.seen = std::max(idle.seen, work);
  if (proof == Proof::kWaited) idle.waited = std::max(idle.waited, work);
  if (at != state.idle.end()) return;
  if (state.idle.size() < limits::kKnownIdleMax) {
    state.idle.push_back(fresh);
  } else {
    state.idle[state.next] = fresh;
    state.next = (state.next + 1) % limits::kKnownIdleMax;
  }
}

void Completions::prove(const WorkPlace& place, std::uint64_t work, Proof proof) {
  prove(*state_.lock(), place, work, proof);
}

bool Completions::is_idle(const WorkPlace& place, Proof enough) {
  const std::uint64_t work = this->work();
  return is_proven(*state_.lock(), place, work, enough);
}

void Completions::made(CUstream stream, CUcontext context) {
  auto state = state_.lock();
  if (state->streams.size() < limits::kKnownStreamsMax) state->streams[stream] = context;
}

void Completions::destroyed(CUstream stream) { state_.lock()->streams.erase(stream); }

void Completions::recorded(CUevent event, const WorkPlace& place, const Record& record) {
  const std::uint64_t work = this->work();
  auto state = state_.lock();
  if (state->events.size() >= limits::kKnownEventsMax) {
    std::erase_if(state->events, [](const auto& entry) { return !entry.second.in_graph; });
  }
  Recorded& latest = state->events[event];
  if (latest.in_graph) return;
  // Two threads may record it at once, and come here in the other order: the later call counts.
  // Call numbers go round, so they are compared only where the two overlapped.
  const bool is_later = record.before >= latest.work ||
                        static_cast<std::int32_t>(record.call - latest.record.call) > 0;
  if (is_later) latest = {place, record, work, Proof::kNone, false};
}

void Completions::kept_by_graph(CUevent event) {
  Recorded kept;
  kept.in_graph = true;
  state_.lock()->events[event] = kept;
}

void Completions::destroyed(CUevent event) { state_.lock()->events.erase(event); }

void Completions::forget_all() {
  auto state = state_.lock();
  state->idle.clear();
  state->next = 0;
  std::erase_if(state->events, [](const auto& entry) { return !entry.second.in_graph; });
  state->streams.clear();
}

std::uint32_t Completions::latest_record(CUevent event) {
  auto state = state_.lock();
  auto at = state->events.find(event);
  return at == state->events.end() ? 0 : at->second.record.call;
}

void Completions::prove(CUevent event, std::uint32_t call, Proof proof) {
  auto state = state_.lock();
  auto at = state->events.find(event);
  if (call == 0 || at == state->events.end() || at->second.record.call != call) return;
  Recorded& latest = at->second;
  latest.proof = std::max(latest.proof, proof);
  prove(*state, latest.place, latest.record.before, proof);
}

Completions::Known Completions::known(CUevent event) {
  auto state = state_.lock();
  auto at = state->events.find(event);
  if (at == state->events.end() || at->second.in_graph) return {};
  Recorded& latest = at->second;
  for (Proof proof : {Proof::kWaited, Proof::kSeen}) {
    if (latest.proof >= proof) break;
    if (is_proven(*state, latest.place, latest.work, proof)) latest.proof = proof;
  }
  return {latest.proof, latest.work};
}

void Completions::capture_ends() {
  int now = captures_.load(std::memory_order_relaxed);
  while (now > 0 && !captures_.compare_exchange_weak(now, now - 1, std::memory_order_relaxed)) {
  }
}

}  // namespace farcall::shim
