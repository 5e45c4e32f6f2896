#include "transport/cuda/entry_points.h"

#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>

#include "tests/transport/cuda/test_data.h"
#include "transport/cuda/cuda_abi.h"
// After cuda_abi.h, which sets how cuda.h names things.
#include <cudaProfiler.h>
#include <cudaProfilerTypedefs.h>
#include <cudaTypedefs.h>

using namespace farcall::cuda;

// Every row's symbol has the signature that CUDA's own headers give for its version.
#define ENTRY_POINT(name, version, symbol) \
  static_assert(std::is_same_v<decltype(&symbol), PFN_##name##_v##version>, #symbol);
#define PER_THREAD(name, version, symbol, suffix) \
  static_assert(std::is_same_v<decltype(&symbol), PFN_##name##_v##version##_##suffix>, #symbol);
#include "transport/cuda/entry_points.def"
#undef ENTRY_POINT
#undef PER_THREAD

namespace {

std::string chosen(const char* name, int version, std::uint64_t flags = 0) {
  const char* symbol = choose_symbol(name, version, flags);
  return symbol == nullptr ? "-" : symbol;
}

constexpr std::uint64_t kPerThread = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;

}  // namespace

TEST_CASE("the table is sorted and names every symbol once") {
  const auto rows = entry_points();
  CHECK(rows.size() == 637);
  std::set<std::string> symbols;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK_MESSAGE(symbols.insert(rows[i].symbol).second, rows[i].symbol);
    CHECK_MESSAGE(std::string(rows[i].symbol).rfind(rows[i].name, 0) == 0, rows[i].symbol);
    if (i == 0) continue;
    const EntryPoint &a = rows[i - 1], &b = rows[i];
    const int order = std::strcmp(a.name, b.name);
    const bool sorted =
        order < 0 || (order == 0 && (a.per_thread < b.per_thread ||
                                     (a.per_thread == b.per_thread && a.version < b.version)));
    CHECK_MESSAGE(sorted, b.symbol);
  }
}

TEST_CASE("the newest function that is not newer than the caller is chosen") {
  CHECK(chosen("cuMemAlloc", 13000) == "cuMemAlloc_v2");
  CHECK(chosen("cuMemAlloc", 3020) == "cuMemAlloc_v2");
  CHECK(chosen("cuMemAlloc", 3010) == "cuMemAlloc");
  CHECK(chosen("cuStreamGetCaptureInfo", 11080) == "cuStreamGetCaptureInfo_v2");
  CHECK(chosen("cuStreamGetCaptureInfo", 12030) == "cuStreamGetCaptureInfo_v3");
  CHECK(chosen("cuCtxCreate", 99999) == "cuCtxCreate_v4");
}

TEST_CASE("per-thread default streams get the twin where there is one") {
  CHECK(chosen("cuMemcpyHtoD", 13000, kPerThread) == "cuMemcpyHtoD_v2_ptds");
  CHECK(chosen("cuLaunchKernel", 13000, kPerThread) == "cuLaunchKernel_ptsz");
  CHECK(chosen("cuMemAlloc", 13000, kPerThread) == "cuMemAlloc_v2");
  CHECK(chosen("cuLaunchKernel", 13000, CU_GET_PROC_ADDRESS_LEGACY_STREAM) == "cuLaunchKernel");
  CHECK(chosen("cuLaunchKernel", 4000, kPerThread) == "cuLaunchKernel");
}

TEST_CASE("a lookup tells an unknown name from one that is too new") {
  Lookup lookup = Lookup::kFound;
  CHECK(choose_symbol("cuNoSuchThing", 13000, 0, &lookup) == nullptr);
  CHECK(lookup == Lookup::kNotFound);
  CHECK(choose_symbol("", 0, 0, &lookup) == nullptr);
  CHECK(lookup == Lookup::kNotFound);
  CHECK(choose_symbol(nullptr, 13000, 0, &lookup) == nullptr);
  CHECK(lookup == Lookup::kNotFound);
  CHECK(choose_symbol("cuLibraryLoadData", 11080, 0, &lookup) == nullptr);
  CHECK(lookup == Lookup::kVersionTooOld);
  CHECK(choose_symbol("cuInit", 13000, 0, &lookup) != nullptr);
  CHECK(lookup == Lookup::kFound);
}

TEST_CASE("every request of libcudart 13.0 is answered by the function it will call") {
  std::istringstream lines(data_text("cudart13_requests.txt"));
  std::string line;
  int requests = 0;
  while (std::getline(lines, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    std::string name, symbol;
    int version = 0;
    std::uint64_t flags = 0;
    fields >> name >> version >> flags >> symbol;
    CHECK_MESSAGE(chosen(name.c_str(), version, flags) == symbol, line);
    ++requests;
  }
  CHECK(requests >= 439);
}
