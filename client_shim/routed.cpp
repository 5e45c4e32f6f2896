#include "client_shim/routed.h"

#include "transport/base/log.h"

namespace farcall::shim {
namespace {

// Whom a hint is certain about; null for nobody.
Client* named_by(Fleet& fleet, const Hint& hint) {
  switch (hint.clue) {
    case Clue::kHandle: return fleet.owner_of(hint.value);
    case Clue::kDevice: return fleet.owner_of_device(static_cast<int>(hint.value));
    case Clue::kAddress: {
      const auto owner = fleet.owner_of_address(hint.value);
      return owner ? fleet.clients()[*owner] : nullptr;
    }
    // A function of a module is where its module is; a kernel of a library is everywhere.
    case Clue::kKernel: {
      Client* owner = fleet.owner_of(hint.value);
      if (owner == nullptr) return nullptr;
      const FunctionRefs facts = owner->functions().find(hint.value);
      return facts == nullptr || !facts->is_kernel ? owner : nullptr;
    }
    case Clue::kNone: return nullptr;
  }
  return nullptr;
}

// The server of the current context; without one that of a kernel which is named.
Client& default_for(Fleet& fleet, std::span<const Hints> hints) {
  if (fleet.current() != nullptr) return fleet.serving();
  for (const auto& [hint, other] : hints) {
    Client* owner = hint.clue == Clue::kKernel ? fleet.owner_of(hint.value) : nullptr;
    if (owner != nullptr) return *owner;
  }
  return fleet.first();
}

CUresult move_kernels(Fleet& fleet, Client& client, std::span<Hints> hints) {
  for (auto& [hint, other] : hints) {
    if (hint.clue != Clue::kKernel) continue;
    Client* home = fleet.owner_of(hint.value);
    if (home == nullptr || home == &client) continue;
    Serving serving(fleet, client);
    CUresult moved = fleet.libraries().kernel_on(*home, client, hint.value, &hint.value);
    if (moved != CUDA_SUCCESS) return moved;
  }
  return CUDA_SUCCESS;
}

// What CUDA answers where a device cannot reach a thing of this kind.
CUresult refusal_of(Clue clue) {
  switch (clue) {
    case Clue::kAddress: return CUDA_ERROR_INVALID_VALUE;
    case Clue::kDevice: return CUDA_ERROR_INVALID_DEVICE;
    default: return CUDA_ERROR_INVALID_HANDLE;
  }
}

}  // namespace

Route find_route(Fleet& fleet, std::span<Hints> hints) {
  Route route;
  Clue first = Clue::kNone;
  for (const Hints& argument : hints) {
    for (const Hint& hint : argument) {
      Client* named = named_by(fleet, hint);
      if (named == nullptr || named == route.client) continue;
      if (route.client == nullptr) {
        route.client = named;
        first = hint.clue;
      } else if (!route.is_crossing) {
        route.is_crossing = true;
        route.result = refusal_of(first == Clue::kAddress ? first : hint.clue);
      }
    }
  }
  if (route.is_crossing) return route;
  if (route.client == nullptr) route.client = &default_for(fleet, hints);
  route.result = move_kernels(fleet, *route.client, hints);
  return route;
}

CUresult refuse_crossing(const char* name, CUresult result) {
  FARCALL_LOG_WARN("%s: what it names is on two servers", name);
  return result;
}

}  // namespace farcall::shim
