// Every function that may take device memory is decided upon, one by one, in ledger_rows.def.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "gpu_server/ledger_driver.h"
#include "transport/api/dispatch.h"

namespace farcall::server {
namespace {

// Words in the names of functions that take memory, give it back or say how much there is. A new
// row of the table with one of them must be put into ledger_rows.def before this test passes.
constexpr std::string_view kWords[] = {
    "Alloc",       "Create",   "Load",
    "Instantiate", "Upload",   "Reserve",
    "Retain",      "Import",   "Free",
    "Destroy",     "Unload",   "Release",
    "Reset",       "Trim",     "MemPool",
    "MemGetInfo",  "TotalMem", "SetLimit",
    "MemMap",      "MemUnmap", "GraphMemAttribute",
    "GraphLaunch", "LinkAdd",  "BeginCapture",
    "Register",    "Clone",    "Expand",
    "Resize",
};

std::map<std::string, bool> decided() {
  std::map<std::string, bool> all;
#define METERED(F, WHAT) all[#F] = true;
#define UNMETERED(F, WHY) all[#F] = false;
#include "gpu_server/ledger_rows.def"
#undef METERED
#undef UNMETERED
  return all;
}

TEST_CASE("every row whose name speaks of memory is metered or says why not") {
  const auto all = decided();
  std::size_t seen = 0;
  for (unsigned family = 0; family < 256; ++family) {
    for (const api::ServedRow& row : api::family_rows(static_cast<std::uint8_t>(family))) {
      const std::string_view name = row.info.name;
      bool speaks = false;
      for (std::string_view word : kWords) speaks |= name.find(word) != std::string_view::npos;
      if (!name.starts_with("cu") || !speaks) continue;
      ++seen;
      CHECK_MESSAGE(all.contains(std::string(name)), name,
                    " may take device memory: decide in gpu_server/ledger_rows.def what the "
                    "ledger makes of it");
    }
  }
  CHECK(seen > 60);  // the words find something
}

TEST_CASE("what is metered passes through the ledger, and nothing else is touched") {
  // A driver that has every function: each pointer is a number that is never called.
  api::Driver real;
  const int found = api::load_driver(real, [](const char* symbol) {
    return reinterpret_cast<void*>(0x1000 + std::hash<std::string_view>()(symbol) % 0x7fff'0000);
  });
  CHECK(found > 300);
  auto ledger = Ledger::create({});
  REQUIRE(ledger.ok());
  LedgerDriver metered(real, *ledger.value());
  const api::Driver& driver = metered.driver();
  std::string wrong;
#define METERED(F, WHAT) \
  if (driver.F != &metered::F) wrong += #F " ";
#define UNMETERED(F, WHY) \
  if (driver.F != real.F) wrong += #F " ";
#include "gpu_server/ledger_rows.def"
#undef METERED
#undef UNMETERED
  CHECK(wrong.empty());
  std::size_t differ = 0;
#define FARCALL_WHOLE_TABLE
#define API(ID, F, WHEN, ...) differ += driver.F != real.F;
#define HAND(ID, F, WHEN) differ += driver.F != real.F;
#define LOCAL(F) differ += driver.F != real.F;
#include "transport/api/table.inc"
  std::size_t listed = 0;
  for (const auto& [name, is_metered] : decided()) listed += is_metered;
  CHECK(differ == listed);
}

TEST_CASE("a function the driver lacks stays missing") {
  api::Driver real;
  auto ledger = Ledger::create({});
  REQUIRE(ledger.ok());
  LedgerDriver metered(real, *ledger.value());
  const bool lacks = metered.driver().cuMemAlloc_v2 == nullptr;
  CHECK(lacks);
}

}  // namespace
}  // namespace farcall::server
