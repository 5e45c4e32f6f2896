#include "client_shim/symbols.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <vector>

#include "client_shim/profiler.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {
namespace {

// Every row of the table names exports of ours, whoever answers them.
const Symbol kSymbols[] = {
#define FARCALL_SYMBOL(F) {#F, reinterpret_cast<void (*)()>(&::F)},
#define API(ID, F, WHEN, ...) FARCALL_SYMBOL(F)
#define API_PTSZ(ID, F, WHEN, ...) FARCALL_SYMBOL(F) FARCALL_SYMBOL(F##_ptsz)
#define HAND(ID, F, WHEN) FARCALL_SYMBOL(F)
#define HAND_PTSZ(ID, F, WHEN, N) FARCALL_SYMBOL(F) FARCALL_SYMBOL(F##_ptsz)
#define LOCAL(F) FARCALL_SYMBOL(F)
#define LOCAL_PTSZ(F, N) FARCALL_SYMBOL(F) FARCALL_SYMBOL(F##_ptsz)
#define LOCAL_ONLY(F) FARCALL_SYMBOL(F)
#define SAME(F, G, N) FARCALL_SYMBOL(F)
#define PTDS(TWIN, F, N) FARCALL_SYMBOL(TWIN)
#define PTDS_WAITS(TWIN, F, N) FARCALL_SYMBOL(TWIN)
#include "transport/api/table.inc"
#undef FARCALL_SYMBOL
};

// All of them, sorted once on first use; leaked, like all state here.
const std::vector<Symbol>& sorted() {
  static const auto* const symbols = [] {
    auto all = std::make_unique<std::vector<Symbol>>(std::begin(kSymbols), std::end(kSymbols));
    auto refused = refused_symbols();
    all->insert(all->end(), refused.begin(), refused.end());
    std::sort(all->begin(), all->end(),
              [](const Symbol& a, const Symbol& b) { return std::strcmp(a.name, b.name) < 0; });
    return all.release();
  }();
  return *symbols;
}

}  // namespace

void* find_symbol(const char* name) {
  const std::vector<Symbol>& all = sorted();
  auto at = std::lower_bound(
      all.begin(), all.end(), name,
      [](const Symbol& symbol, const char* key) { return std::strcmp(symbol.name, key) < 0; });
  if (at == all.end() || std::strcmp(at->name, name) != 0) return nullptr;
  return reinterpret_cast<void*>(at->function);
}

}  // namespace farcall::shim
