#include "client_shim/host_uses.h"

namespace farcall::shim {

void HostUses::begin() {
  auto state = state_.lock();
  state.wait(changed_, [](const State& now) { return !now.is_changing; });
  ++state->uses;
}

void HostUses::finish() {
  auto state = state_.lock();
  if (--state->uses == 0) changed_.notify_all();
}

// Uses go on coming while this waits, because one may be held inside another.
HostUses::Change::Change(HostUses& uses) : uses_(uses) {
  auto state = uses_.state_.lock();
  state.wait(uses_.changed_, [](const State& now) { return now.uses == 0 && !now.is_changing; });
  state->is_changing = true;
}

HostUses::Change::~Change() {
  uses_.state_.lock()->is_changing = false;
  uses_.changed_.notify_all();
}

}  // namespace farcall::shim
