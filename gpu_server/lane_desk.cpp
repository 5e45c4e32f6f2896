#include "gpu_server/lane_desk.h"

#include <algorithm>
#include <chrono>
#include <iterator>

namespace farcall::server {
namespace {

// How often to look whether a client that owes us its lanes is still there.
constexpr int kLookMs = 100;

}  // namespace

void LaneDesk::expect(const link::SessionId& id, link::CarrierKind kind, std::size_t stripes) {
  Lanes lanes{kind, std::vector<Fd>(link::kFirstBulkConnection + stripes)};
  std::lock_guard lock(mutex_);
  state_.expected.insert_or_assign(id.bytes, std::move(lanes));
}

Status LaneDesk::deliver(const link::LaneHello& hello, link::CarrierKind kind, Fd socket) {
  {
    std::lock_guard lock(mutex_);
    auto found = state_.expected.find(hello.session_id.bytes);
    if (found == state_.expected.end() || hello.connection >= found->second.sockets.size() ||
        found->second.kind != kind) {
      return Status(Code::kNotFound, "no session expects this lane");
    }
    Fd& lane = found->second.sockets[hello.connection];
    // The first one stays: who comes second may be an impostor, and so may the first, but a session
    // that is disturbed once is not disturbed more by keeping it.
    if (lane) return Status(Code::kNotFound, "the session has this lane already");
    lane = std::move(socket);
  }
  changed_.notify_all();
  return ok();
}

Result<LaneSockets> LaneDesk::await(const link::SessionId& id, Deadline deadline,
                                    FunctionRef<bool()> gone) {
  std::unique_lock lock(mutex_);
  std::vector<Fd>& lanes = state_.expected[id.bytes].sockets;  // a map's values stay where they are
  const auto complete = [&] {
    return !lanes.empty() &&
           std::all_of(lanes.begin(), lanes.end(), [](const Fd& lane) { return bool(lane); });
  };
  bool given_up = false;
  while (!complete() && !state_.stopped && !given_up && !deadline.passed()) {
    const int nap_ms = std::min(deadline.left_ms(), kLookMs);
    changed_.wait_for(lock, std::chrono::milliseconds(nap_ms));
    lock.unlock();
    given_up = gone();
    lock.lock();
  }
  const bool all_there = complete();
  std::vector<Fd> taken = std::move(lanes);
  state_.expected.erase(id.bytes);
  if (state_.stopped) return Status(Code::kClosed, "the server is shutting down");
  if (given_up) return Status(Code::kClosed, "the client left before its data connections came");
  if (!all_there) {
    return Status(Code::kTimeout, "the client did not open its data connections in time");
  }
  LaneSockets sockets;
  sockets.calls = std::move(taken[link::kCallsConnection]);
  std::move(taken.begin() + link::kFirstBulkConnection, taken.end(),
            std::back_inserter(sockets.bulk));
  return sockets;
}

void LaneDesk::stop() {
  {
    std::lock_guard lock(mutex_);
    state_.stopped = true;
  }
  changed_.notify_all();
}

}  // namespace farcall::server
