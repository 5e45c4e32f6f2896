// The executor and what a session leaves: what its encryption has cost, and what it still holds.
#include "gpu_server/executor.h"
#include "transport/link/security_cost.h"

namespace farcall::server {

void Executor::tell_cost() {
  const link::SecurityCost cost = link::security_cost(link_);
  facts_->set(Tally::kSealedRecords, cost.sealed.records);
  facts_->set(Tally::kSealedBytes, cost.sealed.bytes);
  facts_->set(Tally::kSealNs, cost.sealed.ns);
  facts_->set(Tally::kOpenedRecords, cost.opened.records);
  facts_->set(Tally::kOpenedBytes, cost.opened.bytes);
  facts_->set(Tally::kOpenNs, cost.opened.ns);
}

// The driver would do this when the process ends; a session that shares its process cannot wait for
// that. Whatever lives in a context goes with it.
void Executor::clean_up() {
  std::vector<CUcontext> own;
  handles_.drain([&](Kind kind, void* real) {
    if (kind == Kind::kLibrary && driver_.cuLibraryUnload != nullptr) {
      (void)driver_.cuLibraryUnload(static_cast<CUlibrary>(real));
    } else if (kind == Kind::kLinkState && driver_.cuLinkDestroy != nullptr) {
      (void)driver_.cuLinkDestroy(static_cast<CUlinkState>(real));
    } else if (kind == Kind::kGreenContext && driver_.cuGreenCtxDestroy != nullptr) {
      auto* green = static_cast<CUgreenCtx>(real);
      CUcontext view = nullptr;
      if (driver_.cuCtxFromGreenCtx != nullptr) (void)driver_.cuCtxFromGreenCtx(&view, green);
      contexts_.note_view(view);
      (void)driver_.cuGreenCtxDestroy(green);
    } else if (kind == Kind::kContext && !contexts_.is_primary(static_cast<CUcontext>(real))) {
      own.push_back(static_cast<CUcontext>(real));
    }
  });
  for (CUcontext context : own) {
    if (contexts_.is_view(context)) continue;
    if (driver_.cuCtxDestroy_v2 != nullptr) (void)driver_.cuCtxDestroy_v2(context);
  }
  contexts_.release_all();
}

}  // namespace farcall::server
