#include "gpu_server/ledger_driver.h"

#include "transport/base/check.h"
#include "transport/cuda/direct_memory.h"

namespace farcall::server {
namespace {

std::atomic<LedgerDriver*> g_one{nullptr};

// No device has as much; sums of such figures would mean nothing.
constexpr std::uint64_t kPieceBytesMax = std::uint64_t{1} << 50;

}  // namespace

LedgerDriver::LedgerDriver(const api::Driver& real, Ledger& ledger)
    : real_(real), metered_(real), ledger_(ledger) {
#define METERED(F, WHAT) \
  if (real.F != nullptr) metered_.F = &metered::F;
#define UNMETERED(F, WHY) static_assert(requires { real.F; });
#include "gpu_server/ledger_rows.def"
#undef METERED
#undef UNMETERED
  LedgerDriver* none = nullptr;
  FARCALL_CHECK(g_one.compare_exchange_strong(none, this));
}

LedgerDriver::~LedgerDriver() {
  virtual_.lock()->handles.clear();
  virtual_.lock()->mappings.clear();
  g_one = nullptr;
}

LedgerDriver& LedgerDriver::get() { return *g_one.load(std::memory_order_relaxed); }

CUcontext LedgerDriver::context() const {
  CUcontext context = nullptr;
  if (real_.cuCtxGetCurrent != nullptr) (void)real_.cuCtxGetCurrent(&context);
  return context;
}

int LedgerDriver::device() const {
  CUdevice device = 0;
  if (real_.cuCtxGetDevice == nullptr || real_.cuCtxGetDevice(&device) != CUDA_SUCCESS) return 0;
  return device;
}

bool LedgerDriver::charge(const Held& held) {
  const bool granted = try_charge(held);
  if (!granted) ledger_.count_refusal();
  return granted;
}

bool LedgerDriver::try_charge(const Held& held) {
  if (held.memory_bytes > kPieceBytesMax || held.image_bytes > kPieceBytesMax) return false;
  if (!ledger_.charge({Account::kImages}, held.image_bytes)) return false;
  const Place memory{Account::kMemory, held.device};
  if (ledger_.charge(memory, held.memory_bytes)) return true;
  if (charged_bytes(held.memory_bytes) <= ledger_.limits().memory_bytes) {
    settle(true);
    if (ledger_.charge(memory, held.memory_bytes)) return true;
  }
  ledger_.give_back({Account::kImages}, held.image_bytes);
  return false;
}

void LedgerDriver::give_back(const Held& held) {
  ledger_.give_back({Account::kImages}, held.image_bytes);
  ledger_.give_back({Account::kMemory, held.device}, held.memory_bytes);
}

void LedgerDriver::settle(bool trim) {
  settle_freed();
  settle_pools();
  if (trim) settle_graphs();
}

void LedgerDriver::keep(HeldKind kind, std::uint64_t name, const Held& held) {
  (*held_[static_cast<unsigned>(kind)].lock())[name] = held;
}

std::optional<Held> LedgerDriver::take(HeldKind kind, std::uint64_t name) {
  auto all = held_[static_cast<unsigned>(kind)].lock();
  auto found = all->find(name);
  if (found == all->end()) return std::nullopt;
  Held held = found->second;
  all->erase(found);
  return held;
}

void LedgerDriver::forget_context(CUcontext context) {
  if (context == nullptr) return;
  for (auto& of_kind : held_) {
    auto all = of_kind.lock();
    std::erase_if(*all, [&](const auto& each) {
      if (each.second.context != context) return false;
      give_back(each.second);
      return true;
    });
  }
}

}  // namespace farcall::server
