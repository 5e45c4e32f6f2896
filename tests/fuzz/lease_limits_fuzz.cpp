// How it works: the input is tried as the text of a lease's limits and as a size. What is taken
// must lie within its bounds and come back unchanged from its own text; what is refused must be
// complained about in a short line, however long it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "gpu_server/lease_limits.h"

using namespace farcall;
using namespace farcall::server;

namespace {

constexpr std::size_t kComplaintBytesMax = 512;

void require(bool holds) {
  if (!holds) std::abort();
}

void limits(const std::string& text) {
  Result<LeaseLimits> read = parse_lease_limits(text);
  if (!read.ok()) return require(read.status().text().size() < kComplaintBytesMax);
  require(read->compute_percent >= 1 && read->compute_percent <= 100);
  Result<LeaseLimits> again = parse_lease_limits(to_string(read.value()));
  require(again.ok() && again.value() == read.value());
}

void bytes(const std::string& text) {
  Result<std::uint64_t> read = parse_bytes(text);
  if (!read.ok()) return require(read.status().text().size() < kComplaintBytesMax);
  require(read.value() >= 1 && read.value() <= std::uint64_t{1} << 60);
  Result<std::uint64_t> again = parse_bytes(bytes_text(read.value()));
  require(again.ok() && again.value() == read.value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  limits(text);
  bytes(text);
  return 0;
}
