// How it works: the input is an image as a client may send it. It is tried as a fatbin container,
// whose entries are all decompressed, and as a packed image, which if accepted must lead a driver
// to parts that lie inside the buffer and are what their headers say.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "transport/cuda/image.h"
#include "transport/cuda/image_trim.h"

using namespace farcall;
using namespace farcall::cuda;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void container(std::span<const std::byte> bytes) {
  Result<std::vector<FatbinEntry>> entries = container_entries(bytes);
  if (!entries.ok()) return;
  const std::uint32_t sms[] = {75, 103};
  for (TrimRule rule : {TrimRule::kOneIsChosen, TrimRule::kLinked}) {
    const std::vector<char> used = usable_entries(entries.value(), sms, rule);
    require(used.size() == entries->size());
    require(used.empty() || std::count(used.begin(), used.end(), 1) > 0);
  }
  for (const FatbinEntry& entry : entries.value()) {
    require(entry.stored.data() >= bytes.data() &&
            entry.stored.data() + entry.stored.size() <= bytes.data() + bytes.size());
    require(entry.payload.data() >= bytes.data() &&
            entry.payload.data() + entry.payload.size() <= bytes.data() + bytes.size());
    // Larger claims are tested by name; here they would only make the fuzzer slow.
    if (entry.uncompressed_bytes > (1u << 20)) continue;
    Result<std::vector<std::byte>> plain = entry_bytes(entry);
    if (plain.ok() && entry.kind == EntryKind::kElf) static_cast<void>(elf_sm(plain.value()));
    Result<std::string> text = ptx_text(entry);
    require(!text.ok() || text->find('\0') == std::string::npos);
  }
}

void packed(std::span<const std::byte> bytes) {
  Result<UnpackedImage> unpacked = unpack_image({bytes.begin(), bytes.end()});
  if (!unpacked.ok()) return;
  Result<std::vector<ImagePart>> parts = image_parts(unpacked->image());
  require(parts.ok() && parts->size() == unpacked->parts().size());
  for (std::size_t i = 0; i < parts->size(); ++i) {
    require(parts.value()[i].bytes.data() == unpacked->parts()[i].bytes.data());
    require(parts.value()[i].bytes.size() == unpacked->parts()[i].bytes.size());
    container(parts.value()[i].bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  container(bytes);
  packed(bytes);
  return 0;
}
