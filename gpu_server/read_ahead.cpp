#include "gpu_server/read_ahead.h"

#include <algorithm>
#include <cstring>

#include "gpu_server/host_gates.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/wire/reader.h"

namespace farcall::server {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;
static_assert(limits::kCallRecordBytesMax <= kChunkBytes, "every frame fits a chunk");

}  // namespace

ReadAhead::ReadAhead(link::Session& link, HostGates& gates)
    : link_(link),
      gates_(gates),
      relief_(
          readers_, [this] { return link_.has_arrived(); }, [this] { read(); }) {}

void ReadAhead::stop() {
  relief_.stop();
  readers_.wait_idle();
}

Result<link::Frame> ReadAhead::next() {
  {
    auto state = state_.lock();
    drop_shown(*state);
    changed_.notify_all();  // there is room
    state.wait(changed_, [](const State& now) { return now.bytes > 0 || !now.is_reading; });
    if (state->bytes > 0) return first(*state);
    if (state->end) return *state->end;
  }
  return link_.receive(Deadline::never());
}

bool ReadAhead::has_frame() {
  {
    auto state = state_.lock();
    if (state->bytes > state->shown || state->is_reading) return true;
  }
  return link_.has_frame();
}

bool ReadAhead::has_arrived() {
  {
    auto state = state_.lock();
    if (state->bytes > state->shown) return true;
  }
  return link_.has_arrived();
}

void ReadAhead::cover() {
  {
    auto state = state_.lock();
    state->is_covered = true;
    has_offered_ = !state->is_reading && !state->end;
    state->has_read = false;
  }
  if (has_offered_) relief_.offer();
}

void ReadAhead::uncover() {
  const bool is_taken = has_offered_ && !relief_.take_back();
  auto state = state_.lock();
  state->is_covered = false;
  // Whoever took the offer reads, or is about to, or has already ended.
  if (is_taken) state->is_reading = !state->has_read;
}

void ReadAhead::read() {
  while (wait_for_room()) {
    Result<link::Frame> frame = link_.receive(Deadline::never());
    Status kept = frame.ok() ? keep(frame.value()) : frame.status();
    if (kept.ok()) continue;
    link_.close(kept);
    gates_.close();  // whoever is held up goes on, and finds the end
    state_.lock()->end = kept;
    break;
  }
  auto state = state_.lock();
  state->has_read = true;
  state->is_reading = false;
  changed_.notify_all();
}

bool ReadAhead::wait_for_room() {
  auto state = state_.lock();
  state.wait(changed_, [](const State& now) {
    return !now.is_covered || now.bytes < limits::kReadAheadBytesMax;
  });
  return state->is_covered;
}

Status ReadAhead::keep(const link::Frame& frame) {
  // Both come again in order, and change nothing then. What does not parse ends the session there.
  const bool is_asked = (frame.head.flags & wire::kWantsReply) != 0;
  if (frame.head.id == api::row::await_host_function::info().id && is_asked) {
    gates_.await_ahead(frame.head);
  }
  if (frame.head.id == api::row::finish_host_function::info().id) {
    wire::Reader in(frame.body);
    auto finish = in.get<api::hand::FinishHostFunction>();
    if (!in.failed()) gates_.finish(finish.turn);
  }
  const std::size_t bytes = sizeof frame.head + frame.body.size();
  auto state = state_.lock();
  if (state->chunks.empty() || kChunkBytes - state->chunks.back().end < bytes) {
    auto memory = SecureBuffer::make(kChunkBytes);
    if (!memory.ok()) return memory.status();
    state->chunks.push_back({std::move(memory).value()});
  }
  Chunk& chunk = state->chunks.back();
  std::byte* at = chunk.memory.data() + chunk.end;
  std::memcpy(at, &frame.head, sizeof frame.head);
  if (!frame.body.empty()) {
    std::memcpy(at + sizeof frame.head, frame.body.data(), frame.body.size());
  }
  chunk.end += bytes;
  state->bytes += bytes;
  changed_.notify_all();
  return ok();
}

void ReadAhead::drop_shown(State& state) {
  if (state.shown == 0) return;
  Chunk& chunk = state.chunks.front();
  chunk.begin += state.shown;
  state.bytes -= state.shown;
  state.shown = 0;
  if (chunk.begin == chunk.end) state.chunks.pop_front();
}

Result<link::Frame> ReadAhead::first(State& state) {
  const Chunk& chunk = state.chunks.front();
  link::Frame frame;
  const std::byte* at = chunk.memory.data() + chunk.begin;
  std::memcpy(&frame.head, at, sizeof frame.head);
  frame.body = {at + sizeof frame.head, frame.head.body_bytes};
  state.shown = sizeof frame.head + frame.head.body_bytes;
  return frame;
}

}  // namespace farcall::server
