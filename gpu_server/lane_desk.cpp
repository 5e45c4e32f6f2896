#include "gpu_server/lane_desk.h"

#include <algorithm>
#include <chrono>

namespace farcall::server {
namespace {

// How often to look whether a client that owes us its lanes is still there.
constexpr int kLookMs = 100;

}  // namespace

void LaneDesk::expect(const link::SessionId& id, link::CarrierKind kind) {
  std::lock_guard lock(mutex_);
  state_.expected.try_emplace(id.bytes).first->second.kind = kind;
}

Status LaneDesk::deliver(const link::LaneHello& hello, link::CarrierKind kind, Fd socket) {
  {
    std::lock_guard lock(mutex_);
    auto found = state_.expected.find(hello.session_id.bytes);
    if (found == state_.expected.end() || hello.lane >= link::kLanes ||
        found->second.kind != kind) {
      return Status(Code::kNotFound, "no session expects this lane");
    }
    Fd& lane = found->second.sockets[hello.lane];
    // The first one stays: who comes second may be an impostor, and so may the first, but a session
    // that is disturbed once is not disturbed more by keeping it.
    if (lane) return Status(Code::kNotFound, "the session has this lane already");
    lane = std::move(socket);
  }
  changed_.notify_all();
  return ok();
}

Result<LanePair> LaneDesk::await(const link::SessionId& id, Deadline deadline,
                                 FunctionRef<bool()> gone) {
  std::unique_lock lock(mutex_);
  bool given_up = false;
  auto complete = [&] {
    auto& lanes = state_.expected[id.bytes].sockets;
    return state_.stopped || (lanes[link::kLaneCalls] && lanes[link::kLaneBulk]);
  };
  while (!complete() && !given_up && !deadline.passed()) {
    const int nap_ms = std::min(deadline.left_ms(), kLookMs);
    changed_.wait_for(lock, std::chrono::milliseconds(nap_ms));
    lock.unlock();
    given_up = gone();
    lock.lock();
  }
  std::array<Fd, link::kLanes> lanes = std::move(state_.expected[id.bytes].sockets);
  state_.expected.erase(id.bytes);
  if (state_.stopped) return Status(Code::kClosed, "the server is shutting down");
  if (given_up) return Status(Code::kClosed, "the client left before its data connections came");
  if (!lanes[link::kLaneCalls] || !lanes[link::kLaneBulk]) {
    return Status(Code::kTimeout, "the client did not open its data connections in time");
  }
  return LanePair{std::move(lanes[link::kLaneCalls]), std::move(lanes[link::kLaneBulk])};
}

void LaneDesk::stop() {
  {
    std::lock_guard lock(mutex_);
    state_.stopped = true;
  }
  changed_.notify_all();
}

}  // namespace farcall::server
