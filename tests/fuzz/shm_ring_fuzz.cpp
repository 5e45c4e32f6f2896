// How it works: the input plays the peer of a shared ring. Its first bytes are orders: let one side
// look, release or reserve, or overwrite a word of the ring's control or bytes with what follows.
// Whatever the memory says, every span that comes out lies inside the ring's two mappings, and a
// record's length does not change while it is held.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "transport/link/shm_ring.h"

using namespace farcall;
using namespace farcall::link;

namespace {

constexpr std::size_t kRing = 4096;

void require(bool holds) {
  if (!holds) std::abort();
}

template <class Span>
void check_inside(const Span& span, const std::vector<std::byte>& bytes) {
  if (span.empty()) return;
  require(span.data() >= bytes.data());
  require(span.data() + span.size() <= bytes.data() + bytes.size());
}

std::uint64_t take(std::span<const std::byte>& in, std::size_t bytes) {
  std::uint64_t value = 0;
  bytes = std::min(bytes, in.size());
  std::memcpy(&value, in.data(), bytes);
  in = in.subspan(bytes);
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::byte> in = std::as_bytes(std::span(data, size));
  RingControl control{};
  std::vector<std::byte> bytes(2 * kRing);
  RingWriter writer(control, bytes.data(), kRing);
  RingReader reader(control, bytes.data(), kRing);
  std::size_t held = 0;
  while (!in.empty()) {
    switch (take(in, 1) % 7) {
      case 0: {
        Result<std::span<const std::byte>> record = reader.peek();
        if (!record.ok()) return 0;
        check_inside(record.value(), bytes);
        require(held == 0 || record.value().size() == held);
        held = record.value().size();
        break;
      }
      case 1:
        if (held != 0) reader.release();
        held = 0;
        break;
      case 2: {
        const auto want = static_cast<std::size_t>(take(in, 2));
        Result<std::span<std::byte>> slot = writer.reserve(want);
        if (!slot.ok()) break;
        check_inside(slot.value(), bytes);
        if (!slot.value().empty()) writer.publish(want);
        break;
      }
      case 3: control.written = take(in, 8); break;
      case 4: control.taken = take(in, 8); break;
      case 5: {
        const auto at = static_cast<std::size_t>(take(in, 2)) % (kRing - 4);
        const auto word = static_cast<std::uint32_t>(take(in, 4));
        std::memcpy(bytes.data() + at, &word, sizeof(word));
        break;
      }
      default: reader.will_sleep(); writer.will_sleep();
    }
  }
  return 0;
}
