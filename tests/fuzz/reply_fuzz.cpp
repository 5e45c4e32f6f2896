// How it works: the input is what a server says of itself, in the two forms that the client keeps:
// the facts of its devices (first byte even) and of a kernel (odd). A lying server gets an error;
// what is accepted must be within what the client can hold.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "client_shim/functions.h"
#include "client_shim/snapshot.h"
#include "transport/base/limits.h"
#include "transport/wire/reader.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void devices(std::span<const std::byte> bytes) {
  wire::Reader in(bytes);
  Result<Snapshot> snapshot = parse_snapshot(in);
  if (!snapshot.ok()) return;
  require(snapshot->devices.size() <= limits::kDevicesMax);
  for (std::size_t i = 0; i < snapshot->devices.size(); ++i) {
    const Device* device = snapshot->device(static_cast<int>(i));
    require(device != nullptr && device->attributes.size() <= kAttributesMax);
    static_cast<void>(device->attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE));
  }
  require(snapshot->device(static_cast<int>(snapshot->devices.size())) == nullptr);
}

void kernel(std::span<const std::byte> bytes) {
  wire::Reader in(bytes);
  const FunctionFacts facts = parse_function(in);
  if (in.failed()) return;
  // A launch gathers this many bytes from the program's memory, so their sum must be right.
  std::size_t sum = 0;
  for (std::uint32_t size : facts.param_bytes) sum += size;
  require(facts.total_param_bytes == sum && sum <= limits::kKernelParamBytesMax);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  (data[0] & 1) == 0 ? devices(bytes.subspan(1)) : kernel(bytes.subspan(1));
  return 0;
}
