#include "client_shim/host_uses.h"

#include <algorithm>

namespace farcall::shim {
namespace {

// The Uses that this thread holds.
thread_local unsigned t_held = 0;

}  // namespace

// A Change that waits for a Use of this thread's must not be waited for by another one.
void HostUses::begin(const Range& range) {
  const bool goes_ahead = t_held > 0;
  auto state = state_.lock();
  state.wait(changed_, [&](const State& now) {
    return std::none_of(now.claims.begin(), now.claims.end(), [&](const Claim& each) {
      return each.range.meets(range) && (each.is_alone || !goes_ahead);
    });
  });
  state->uses.push_back(range);
  ++t_held;
}

void HostUses::finish(const Range& range) {
  auto state = state_.lock();
  auto found = std::find(state->uses.begin(), state->uses.end(), range);
  *found = state->uses.back();
  state->uses.pop_back();
  --t_held;
  if (!state->claims.empty()) changed_.notify_all();
}

HostUses::Change::Change(HostUses& uses, std::uint64_t address, std::uint64_t bytes) : uses_(uses) {
  const Range range(address, bytes);
  const auto meets = [&](const Range& other) { return range.meets(other); };
  auto state = uses_.state_.lock();
  state.wait(uses_.changed_, [&](const State& now) {
    return std::none_of(now.claims.begin(), now.claims.end(),
                        [&](const Claim& each) { return meets(each.range); });
  });
  claim_ = state->claims.insert(state->claims.end(), {range, false});
  state.wait(uses_.changed_, [&](const State& now) {
    return std::none_of(now.uses.begin(), now.uses.end(), meets);
  });
  claim_->is_alone = true;
}

HostUses::Change::~Change() {
  uses_.state_.lock()->claims.erase(claim_);
  uses_.changed_.notify_all();
}

}  // namespace farcall::shim
