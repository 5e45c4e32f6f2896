// Every function that the installed toolkit's headers can ask cuGetProcAddress for, in every
// version, is answered by the one whose signature they have.
//
// The list is read from the typedefs PFN_<name>_v<version>[_ptsz|_ptds] of the toolkit's
// cuda*Typedefs.h at run time, so that a newer toolkit fails here and not at a user's desk. Without
// a toolkit there is nothing to compare.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "transport/cuda/cuda_abi.h"
#include "transport/cuda/entry_points.h"

using namespace farcall::cuda;

namespace {

struct Asked {
  std::string name;
  bool per_thread;
  auto operator<=>(const Asked&) const = default;
};
// Name to the versions in which its signature changed.
using Typedefs = std::map<Asked, std::set<int>>;

// "PFN_cuMemcpyHtoD_v7000_ptds)(" tells a name, a version and whether it is a twin.
void take_typedef(std::string word, Typedefs& found) {
  const bool per_thread = word.ends_with("_ptsz") || word.ends_with("_ptds");
  if (per_thread) word.resize(word.size() - 5);
  const std::size_t mark = word.rfind("_v");
  if (mark == std::string::npos || mark + 2 == word.size()) return;
  const std::string version = word.substr(mark + 2);
  if (version.find_first_not_of("0123456789") != std::string::npos) return;
  found[{word.substr(0, mark), per_thread}].insert(std::stoi(version));
}

Typedefs toolkit_typedefs() {
  const char* home = std::getenv("CUDA_HOME");
  const std::string folder = std::string(home != nullptr ? home : FARCALL_CUDA_HOME) + "/include/";
  const std::string mark = "(CUDAAPI *PFN_";
  Typedefs found;
  for (const char* header : {"cudaTypedefs.h", "cudaProfilerTypedefs.h"}) {
    std::ifstream file(folder + header);
    for (std::string line; std::getline(file, line);) {
      const std::size_t at = line.find(mark);
      const std::size_t end = line.find(')', at);
      if (at == std::string::npos || end == std::string::npos) continue;
      const std::size_t from = at + mark.size();
      take_typedef(line.substr(from, end - from), found);
    }
  }
  return found;
}

// The version of the signature that a lookup gives; 0: none.
int answered(const Asked& asked, int version) {
  const std::uint64_t flags = asked.per_thread ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
                                               : CU_GET_PROC_ADDRESS_DEFAULT;
  const char* symbol = choose_symbol(asked.name.c_str(), version, flags);
  if (symbol == nullptr) return 0;
  for (const EntryPoint& entry : entry_points()) {
    if (std::string(entry.symbol) == symbol && entry.name == asked.name) return entry.version;
  }
  return 0;
}

}  // namespace

TEST_CASE("every typedef of the installed toolkit is answered, for every CUDA version") {
  const Typedefs typedefs = toolkit_typedefs();
  if (typedefs.empty()) {
    MESSAGE("no cudaTypedefs.h here: nothing to compare with");
    return;
  }
  CHECK(typedefs.size() > 500);
  std::set<int> versions = {11080, 12000, 12010, 12020, 12030, 12040, 12050,
                            12060, 12080, 12090, 13000, 13010, 13020, CUDA_VERSION};
  for (const auto& each : typedefs) versions.insert(each.second.begin(), each.second.end());
  for (const auto& each : typedefs) {
    const auto& asked = each.first;  // no structured binding: CHECK's lambda may not capture one
    const auto& changes = each.second;
    CAPTURE(asked.name);
    CAPTURE(asked.per_thread);
    for (int version : versions) {
      auto later = changes.upper_bound(version);
      if (later == changes.begin()) continue;  // it came later
      CAPTURE(version);
      CHECK(answered(asked, version) == *std::prev(later));
    }
  }
}

TEST_CASE("no function is answered that the installed toolkit does not know") {
  const Typedefs typedefs = toolkit_typedefs();
  if (typedefs.empty()) return;
  for (const EntryPoint& entry : entry_points()) {
    CAPTURE(entry.symbol);
    auto found = typedefs.find({entry.name, entry.per_thread});
    REQUIRE(found != typedefs.end());
    CHECK(found->second.contains(entry.version));
  }
}
