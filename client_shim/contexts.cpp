#include "client_shim/contexts.h"

namespace farcall::shim {

void Contexts::add(CUcontext context, ContextFacts facts) { state_.lock()->known[context] = facts; }

void Contexts::drop(CUcontext context) { state_.lock()->known.erase(context); }

std::optional<ContextFacts> Contexts::find(CUcontext context) {
  auto state = state_.lock();
  auto at = state->known.find(context);
  if (at == state->known.end()) return std::nullopt;
  return at->second;
}

Contexts::Primary Contexts::primary(int ordinal) {
  return state_.lock()->primaries[static_cast<std::size_t>(ordinal)];
}

void Contexts::set_primary_flags(int ordinal, unsigned flags) {
  state_.lock()->primaries[static_cast<std::size_t>(ordinal)].flags = flags;
}

int Contexts::retain_primary(int ordinal) {
  return ++state_.lock()->primaries[static_cast<std::size_t>(ordinal)].retains;
}

int Contexts::release_primary(int ordinal) {
  auto state = state_.lock();
  int& retains = state->primaries[static_cast<std::size_t>(ordinal)].retains;
  return retains == 0 ? -1 : --retains;
}

void Contexts::reset_primary(int ordinal) {
  state_.lock()->primaries[static_cast<std::size_t>(ordinal)].retains = 0;
}

}  // namespace farcall::shim
