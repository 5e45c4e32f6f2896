#include "gpu_server/bulk_in.h"

#include <algorithm>
#include <array>

#include "transport/base/secure_arena.h"
#include "transport/link/session.h"

namespace farcall::server {

std::uint64_t BulkLane::take_ticket() { return state_.lock()->next_ticket++; }

void BulkLane::wait_turn(std::uint64_t ticket) {
  auto state = state_.lock();
  state.wait(changed_, [ticket](State& now) { return now.turn == ticket; });
}

void BulkLane::pass_on(std::uint64_t ticket) {
  state_.lock()->turn = ticket + 1;
  changed_.notify_all();
}

BulkIn::BulkIn(link::Session& session, BulkLane& lane, std::uint64_t ticket, std::uint64_t bytes)
    : session_(&session), lane_(&lane), ticket_(ticket), left_(bytes) {
  // An announced payload of no bytes passes its turn on as soon as it comes.
  if (left_ == 0) {
    lane_->wait_turn(ticket_);
    finish();
  }
}

BulkIn::~BulkIn() {
  if (lane_ == nullptr) return;
  std::array<std::byte, 4096> scratch;
  (void)drop(scratch);
  wipe(scratch);
}

Status BulkIn::read(std::span<std::byte> to) {
  if (to.size() > left_) return Status(Code::kMalformed, "a payload is shorter than its call says");
  if (to.empty()) return ok();
  if (!has_turn_) {
    lane_->wait_turn(ticket_);
    has_turn_ = true;
  }
  Status read = session_->bulk_read(to);
  left_ = read.ok() ? left_ - to.size() : 0;  // a closed link has nothing left to give
  if (left_ == 0) finish();
  return read;
}

Status BulkIn::drop(std::span<std::byte> scratch) {
  while (left_ > 0) {
    auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left_, scratch.size()));
    FARCALL_TRY(read(scratch.first(bytes)));
  }
  return ok();
}

void BulkIn::finish() {
  lane_->pass_on(ticket_);
  lane_ = nullptr;
}

}  // namespace farcall::server
