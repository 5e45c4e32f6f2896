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
  for (const api::RowInfo* info :
       {&row::cuCtxSynchronize::info(), &row::cuStreamSynchronize::info(),
        &row::cuEventSynchronize::info(), &row::cuStreamQuery::info(), &row::cuEventQuery::info(),
        &row::cuEventElapsedTime::info(), &row::cuEventElapsedTime_v2::info(),
        &row::cuEventCreate::info(), &row::cuStreamCreate::info(),
        &row::cuStreamCreateWithPriority::info(), &row::cuMemAlloc_v2::info(),
        &row::cuMemGetInfo_v2::info(), &row::cuMemcpyDtoH_v2::info(),
        &row::cuStreamIsCapturing::info(), &row::cuStreamGetFlags::info(),
        &row::cuStreamGetPriority::info(), &row::cuStreamGetId::info(),
        &row::await_host_function::info(), &row::finish_host_function::info()}) {
    quiet.set(info->id);
  }
  return quiet;
}

}  // namespace

bool Completions::may_start_work(const api::RowInfo& row) {
  static const std::bitset<65536> quiet = quiet_rows();
  return row.when != api::When::Cached && !quiet[row.id];
}

std::uint64_t Completions::proven(const State& state, const WorkPlace& place) {
  auto at = std::find_if(state.proofs.begin(), state.proofs.end(),
                         [&](const Proof& proof) { return proof.place == place; });
  return at == state.proofs.end() ? 0 : at->work;
}

void Completions::prove(const WorkPlace& place, std::uint64_t work) {
  auto state = state_.lock();
  for (Proof& proof : state->proofs) {
    if (proof.place != place) continue;
    proof.work = std::max(proof.work, work);
    return;
  }
  if (state->proofs.size() < limits::kKnownIdleMax) {
    state->proofs.push_back({place, work});
  } else {
    state->proofs[state->next] = {place, work};
    state->next = (state->next + 1) % limits::kKnownIdleMax;
  }
}

bool Completions::is_idle(const WorkPlace& place) {
  const std::uint64_t work = this->work();
  auto state = state_.lock();
  if (proven(*state, place) >= work) return true;
  return place.is_stream && place.is_default_stream() &&
         proven(*state, WorkPlace::whole(place.context)) >= work;
}

void Completions::recorded(CUevent event, const WorkPlace& place) {
  const std::uint64_t work = this->work();
  auto state = state_.lock();
  if (is_capturing()) {  // recorded in the graph, not in the stream
    state->events.erase(event);
    return;
  }
  if (state->events.size() >= limits::kKnownEventsMax) state->events.clear();
  Recorded& latest = state->events[event];
  // Two threads may record it at once, and come here in the other order: both must be done.
  const bool is_one_place = latest.work == 0 || latest.is_done || latest.place == place;
  latest = {is_one_place ? place : WorkPlace{}, std::max(latest.work, work), false};
}

void Completions::destroyed(CUevent event) { state_.lock()->events.erase(event); }

std::uint64_t Completions::latest_record(CUevent event) {
  auto state = state_.lock();
  auto at = state->events.find(event);
  return at == state->events.end() ? 0 : at->second.work;
}

void Completions::prove(CUevent event, std::uint64_t record) {
  auto state = state_.lock();
  auto at = state->events.find(event);
  if (at != state->events.end() && at->second.work == record) at->second.is_done = true;
}

bool Completions::is_done(CUevent event) {
  auto state = state_.lock();
  auto at = state->events.find(event);
  if (at == state->events.end()) return false;
  Recorded& latest = at->second;
  if (latest.place.context != nullptr && !latest.is_done) {
    latest.is_done = proven(*state, latest.place) >= latest.work ||
                     (latest.place.is_default_stream() &&
                      proven(*state, WorkPlace::whole(latest.place.context)) >= latest.work);
  }
  return latest.is_done;
}

void Completions::capture_ends() {
  int now = captures_.load(std::memory_order_relaxed);
  while (now > 0 && !captures_.compare_exchange_weak(now, now - 1, std::memory_order_relaxed)) {
  }
}

}  // namespace farcall::shim
