#include "client_shim/contexts.h"

#include <utility>

namespace farcall::shim {
// The errors after which CUDA allows nothing but to destroy the context.
bool Contexts::is_fault(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED: return true;
    default: return false;
  }
}

bool Contexts::note_result(CUcontext context, CUresult result) {
  if (context == nullptr) return false;
  if (!is_fault(result) && result != CUDA_ERROR_CONTEXT_IS_DESTROYED) return false;
  const bool is_new = state_.lock()->faults.emplace(context, result).second;
  any_fault_.store(true, std::memory_order_relaxed);
  return is_new;
}

CUresult Contexts::find_fault(CUcontext context) {
  auto state = state_.lock();
  auto at = state->faults.find(context);
  return at == state->faults.end() ? CUDA_SUCCESS : at->second;
}

bool Contexts::is_alone(CUcontext context) {
  auto state = state_.lock();
  for (const auto& [other, facts] : state->known) {
    if (other == context) continue;
    auto ordinal = static_cast<std::size_t>(facts.ordinal);
    if (!facts.is_primary || state->primaries[ordinal].is_active) return false;
  }
  return true;
}

void Contexts::clear_fault(CUcontext context) { state_.lock()->faults.erase(context); }

void Contexts::add(CUcontext context, ContextFacts facts) { state_.lock()->known[context] = facts; }

void Contexts::drop(CUcontext context, bool may_be_current) {
  auto state = state_.lock();
  auto at = state->known.find(context);
  const int ordinal = at == state->known.end() ? 0 : at->second.ordinal;
  state->known.erase(context);
  state->faults.erase(context);
  if (may_be_current) {
    state->ended.emplace(context, ordinal);
    state->faults.emplace(context, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    any_fault_.store(true, std::memory_order_relaxed);
  }
  version_.fetch_add(1, std::memory_order_release);
}

std::optional<ContextFacts> Contexts::find(CUcontext context) {
  auto state = state_.lock();
  auto at = state->known.find(context);
  if (at == state->known.end()) return std::nullopt;
  return at->second;
}

void Contexts::add_green(CUgreenCtx green, int ordinal) { state_.lock()->greens[green] = ordinal; }

std::optional<int> Contexts::green_device(CUgreenCtx green) {
  auto state = state_.lock();
  auto at = state->greens.find(green);
  if (at == state->greens.end()) return std::nullopt;
  return at->second;
}

CUcontext Contexts::drop_green(CUgreenCtx green) {
  auto state = state_.lock();
  state->greens.erase(green);
  for (const auto& [context, facts] : state->known) {
    if (facts.green == green) return context;
  }
  return nullptr;
}

std::optional<int> Contexts::ordinal(CUcontext context) {
  if (auto facts = find(context)) return facts->ordinal;
  auto state = state_.lock();
  auto at = state->ended.find(context);
  return at == state->ended.end() ? std::nullopt : std::optional(at->second);
}

Contexts::Primary Contexts::primary(int ordinal) {
  return state_.lock()->primaries[static_cast<std::size_t>(ordinal)];
}

void Contexts::set_primary_flags(int ordinal, unsigned flags) {
  state_.lock()->primaries[static_cast<std::size_t>(ordinal)].flags = flags;
}

bool Contexts::retain_primary(int ordinal) {
  auto state = state_.lock();
  Primary& primary = state->primaries[static_cast<std::size_t>(ordinal)];
  ++primary.retains;
  return !std::exchange(primary.is_active, true);
}

int Contexts::release_primary(int ordinal) {
  auto state = state_.lock();
  int& retains = state->primaries[static_cast<std::size_t>(ordinal)].retains;
  return retains == 0 ? -1 : --retains;
}

bool Contexts::end_primary(int ordinal) {
  auto state = state_.lock();
  return std::exchange(state->primaries[static_cast<std::size_t>(ordinal)].is_active, false);
}

}  // namespace farcall::shim
