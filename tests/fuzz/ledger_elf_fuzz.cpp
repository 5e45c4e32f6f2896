// How it works: the input is tried as an ELF, from an address that suits no struct. What does not
// begin as an ELF does must count as its own length; what does, counts the same wherever it lies.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "gpu_server/ledger_image.h"

using namespace farcall::server;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// Of a copy on the heap that is exactly as long, `offset` bytes off.
std::uint64_t count(std::span<const std::byte> bytes, std::size_t offset) {
  std::vector<std::byte> copy(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.begin() + static_cast<std::ptrdiff_t>(offset));
  return elf_memory_bytes(std::span(copy).subspan(offset));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const std::uint64_t need = count(bytes, 0);
  require(count(bytes, 1) == need);
  const std::string_view start(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 4));
  if (start != "\177ELF") require(need == size);
  return 0;
}
