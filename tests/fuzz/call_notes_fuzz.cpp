// How it works: the input is what a worker that was taken over wrote into the page that it shares
// with its supervisor, where the notes of its last calls lie. Whatever that is: no more calls come
// out than there is room for, each in its place, and what is told of them is short and printable.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "gpu_server/call_notes.h"

using namespace farcall;
using namespace farcall::server;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void require_plain(const std::string& text, std::size_t bytes_max) {
  require(!text.empty() && text.size() <= bytes_max);
  for (char c : text) require(c >= 0x20 && c <= 0x7e);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto notes = std::make_unique<CallNotes>();
  std::memcpy(static_cast<void*>(notes.get()), data, std::min(size, sizeof(CallNotes)));
  const auto calls = notes->read();
  require(calls.size() <= limits::kCallNotes);
  std::set<std::uint32_t> places;
  for (const CallNote& call : calls) {
    require(call.call != 0 && places.insert(call.call % limits::kCallNotes).second);
    require_plain(to_text(call), 200);
  }
  require_plain(summary_of(calls), limits::kCallSummaryBytesMax);
  return 0;
}
