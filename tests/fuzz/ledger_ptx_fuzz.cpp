// How it works: the input is tried as a PTX text. Whatever it says, a declaration that stands
// before it must be counted on top, in full: no text may hide what comes with it, and a sum that
// does not fit must stay "more than there is" instead of starting again at nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "gpu_server/ledger_image.h"
#include "gpu_server/ledger_ptx.h"

using namespace farcall::server;

namespace {

constexpr std::string_view kBefore = ".global .align 8 .b64 before[1000], one;\n";
constexpr std::uint64_t kBeforeBytes = 8008;

void require(bool holds) {
  if (!holds) std::abort();
}

std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // On the heap and exactly as long, so that a look behind its end is seen.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::uint64_t bytes = ptx_variable_bytes(text);
  require(ptx_variable_bytes(std::string(kBefore) + text) == sum_of(kBeforeBytes, bytes));
  require(ptx_memory_bytes(text) == sum_of(size, bytes));
  return 0;
}
