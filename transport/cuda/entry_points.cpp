#include "transport/cuda/entry_points.h"

#include <algorithm>
#include <cstring>

#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {
namespace {

constexpr EntryPoint kEntryPoints[] = {
#define ENTRY_POINT(name, version, symbol) {#name, version, false, #symbol},
#define PER_THREAD(name, version, symbol, suffix) {#name, version, true, #symbol},
#include "transport/cuda/entry_points.def"
#undef ENTRY_POINT
#undef PER_THREAD
};

struct ByName {
  bool operator()(const EntryPoint& row, const char* name) const {
    return std::strcmp(row.name, name) < 0;
  }
  bool operator()(const char* name, const EntryPoint& row) const {
    return std::strcmp(name, row.name) < 0;
  }
};

}  // namespace

std::span<const EntryPoint> entry_points() { return kEntryPoints; }

const char* choose_symbol(const char* name, int version, std::uint64_t flags, Lookup* lookup) {
  Lookup ignored;
  if (lookup == nullptr) lookup = &ignored;
  *lookup = Lookup::kNotFound;
  if (name == nullptr) return nullptr;
  const auto [first, last] =
      std::equal_range(std::begin(kEntryPoints), std::end(kEntryPoints), name, ByName{});
  if (first == last) return nullptr;
  const bool want_twin = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  const char* plain = nullptr;
  const char* twin = nullptr;
  for (const EntryPoint* row = first; row != last; ++row) {  // versions ascend: the last fit wins
    if (row->version <= version) (row->per_thread ? twin : plain) = row->symbol;
  }
  const char* chosen = want_twin && twin != nullptr ? twin : plain;
  *lookup = chosen != nullptr ? Lookup::kFound : Lookup::kVersionTooOld;
  return chosen;
}

}  // namespace farcall::cuda
