// How it works: the input is what arrives on a fresh connection that claims to be a lane. It parses
// only when it is exactly what the encoder writes.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "transport/link/hello.h"

using namespace farcall::link;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  farcall::Result<LaneHello> hello = parse_lane_hello(std::as_bytes(std::span(data, size)));
  if (!hello.ok()) return 0;
  std::array<std::byte, kLaneHelloBytes> again;
  encode(hello.value(), again);
  if (size != again.size() || std::memcmp(again.data(), data, size) != 0) std::abort();
  return 0;
}
