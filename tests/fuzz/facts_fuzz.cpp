// How it works: the input is what a worker that was taken over wrote into its pipe, cut into pieces
// at a length that its first byte gives. What parses must be written the same way again; once a
// record is wrong nothing more may come out; and how the bytes were cut must not matter.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "gpu_server/fact_stream.h"

using namespace farcall;
using namespace farcall::server;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::vector<ModuleFact> all_of(std::span<const std::byte> bytes, std::size_t piece, bool* sound) {
  FactStream stream;
  std::vector<ModuleFact> facts;
  *sound = true;
  while (!bytes.empty()) {
    const auto next = bytes.first(std::min(piece, bytes.size()));
    const bool fine = stream
                          .take(next,
                                [&](const ModuleFact& fact) {
                                  require(*sound);
                                  facts.push_back(fact);
                                })
                          .ok();
    require(*sound || !fine);
    *sound = fine;
    bytes = bytes.subspan(next.size());
  }
  return facts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  bool cut_sound = true;
  bool whole_sound = true;
  const auto cut = all_of(bytes, std::size_t{data[0]} + 1, &cut_sound);
  const auto whole = all_of(bytes, size, &whole_sound);
  require(cut == whole && cut_sound == whole_sound);
  std::size_t at = 0;
  for (const ModuleFact& fact : whole) {
    std::array<std::byte, limits::kFactBytes> again;
    encode_fact(fact, again);
    require(std::ranges::equal(again, bytes.subspan(at, again.size())));
    require(!name_of(fact.form).empty());
    at += again.size();
  }
  return 0;
}
