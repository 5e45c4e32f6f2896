// The inside of a fatbin container. Hostile input: every offset is checked before it is used.
#include <elf.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/cuda/image.h"
#include "transport/cuda/image_extent.h"

namespace farcall::cuda {
namespace {

// An entry's header as nvcc 13.0 writes it. Later headers are longer: header_bytes says by how
// much.
struct EntryHeader {
  std::uint16_t kind;
  std::uint16_t unknown_02;
  std::uint32_t header_bytes;
  std::uint32_t payload_bytes;  // padding included
  std::uint32_t unknown_0c;
  std::uint32_t compressed_bytes;  // 0: not compressed
  std::uint32_t options_offset;    // in the header, 0: none
  std::uint16_t version_minor, version_major;
  std::uint32_t sm;
  std::uint32_t name_offset, name_bytes;
  std::uint64_t flags;
  std::uint64_t unknown_30;
  std::uint64_t uncompressed_bytes;
};
static_assert(sizeof(EntryHeader) == 64);

constexpr std::uint16_t kKindPtx = 1, kKindElf = 2;
constexpr std::uint64_t kFlagDebug = 0x2, kFlagLz4 = 0x2000, kFlagZstd = 0x8000;
constexpr std::uint64_t kFlagArchSpecific = 0x100000, kFlagFamilySpecific = 0x200000;

Status malformed(const char* what) { return {Code::kMalformed, what}; }

// PTX only: {u32 offset in the header, u32 length} of the options that nvcc was called with.
std::string_view options_of(const EntryHeader& head, std::span<const std::byte> header) {
  std::uint32_t place[2];
  if (head.kind != kKindPtx || head.options_offset == 0) return {};
  if (head.options_offset > header.size() || header.size() - head.options_offset < sizeof place) {
    return {};
  }
  std::memcpy(place, header.data() + head.options_offset, sizeof place);
  if (place[0] > header.size() || header.size() - place[0] < place[1]) return {};
  const std::string_view all(reinterpret_cast<const char*>(header.data()) + place[0], place[1]);
  return all.substr(0, all.find('\0'));
}

Result<FatbinEntry> entry_of(const EntryHeader& head, std::span<const std::byte> header,
                             std::span<const std::byte> payload) {
  FatbinEntry entry;
  entry.kind_number = head.kind;
  if (head.kind == kKindPtx) entry.kind = EntryKind::kPtx;
  if (head.kind == kKindElf) entry.kind = EntryKind::kElf;
  entry.sm = head.sm;
  entry.version = std::uint32_t{head.version_major} << 16 | head.version_minor;
  entry.flags = head.flags;
  entry.arch_specific = (head.flags & kFlagArchSpecific) != 0;
  entry.family_specific = (head.flags & kFlagFamilySpecific) != 0;
  entry.debug = (head.flags & kFlagDebug) != 0;
  entry.options = options_of(head, header);
  entry.relocatable = entry.options.find("--compile-only") != std::string_view::npos;
  entry.payload = payload;
  if ((head.flags & kFlagZstd) != 0) entry.compression = Compression::kZstd;
  if ((head.flags & kFlagLz4) != 0) entry.compression = Compression::kLz4;
  if (entry.compression != Compression::kNone) {
    if (head.compressed_bytes > payload.size()) {
      return malformed("a fatbin entry larger than its payload");
    }
    entry.payload = payload.first(head.compressed_bytes);
    entry.uncompressed_bytes = head.uncompressed_bytes;
  }
  return entry;
}

Result<std::vector<std::byte>> decompress(const FatbinEntry& entry) {
  if (entry.uncompressed_bytes > limits::kImageEntryBytesMax) {
    return Status(Code::kOverQuota, "a fatbin entry of more than 1 GiB");
  }
  if (entry.uncompressed_bytes == 0) return std::vector<std::byte>();
  // The claimed size is not believed for an allocation until the input could at all hold it: zstd
  // reaches far higher ratios, but only on what is all but constant, which code is not.
  constexpr std::uint64_t kRatioMax = 4096;
  if (entry.uncompressed_bytes / kRatioMax > entry.payload.size()) {
    return malformed("a fatbin entry that claims an impossible size");
  }
  std::vector<std::byte> out(static_cast<std::size_t>(entry.uncompressed_bytes));
  std::size_t written = 0;
  if (entry.compression == Compression::kZstd) {
    written = ZSTD_decompress(out.data(), out.size(), entry.payload.data(), entry.payload.size());
    if (ZSTD_isError(written) != 0) return malformed("a fatbin entry that zstd cannot read");
  } else {
    const int got = LZ4_decompress_safe(
        reinterpret_cast<const char*>(entry.payload.data()), reinterpret_cast<char*>(out.data()),
        static_cast<int>(entry.payload.size()), static_cast<int>(out.size()));
    if (got < 0) return malformed("a fatbin entry that LZ4 cannot read");
    written = static_cast<std::size_t>(got);
  }
  if (written != out.size()) return malformed("a fatbin entry of another size than it claims");
  return out;
}
static_assert(limits::kImageEntryBytesMax <= INT32_MAX, "LZ4 counts in int");

}  // namespace

Result<std::vector<FatbinEntry>> container_entries(std::span<const std::byte> container) {
  if (form_at(container.data(), container.size()) != ImageForm::kContainer) {
    return malformed("no fatbin container");
  }
  Result<std::uint64_t> extent =
      image_extent(ImageForm::kContainer, container.data(), container.size());
  if (!extent.ok()) return extent.status();
  std::span<const std::byte> rest =
      container.first(static_cast<std::size_t>(extent.value())).subspan(kContainerHeaderBytes);
  std::vector<FatbinEntry> entries;
  while (!rest.empty()) {
    EntryHeader head;
    if (rest.size() < sizeof head) return malformed("a fatbin entry shorter than its header");
    std::memcpy(&head, rest.data(), sizeof head);
    if (head.header_bytes < sizeof head || head.header_bytes > rest.size() ||
        head.payload_bytes > rest.size() - head.header_bytes) {
      return malformed("a fatbin entry that leaves its container");
    }
    if (entries.size() == limits::kImageEntriesMax) {
      return Status(Code::kOverQuota, "a fatbin container with more than 65,536 entries");
    }
    const std::size_t bytes = std::size_t{head.header_bytes} + head.payload_bytes;
    const std::span<const std::byte> header = rest.first(head.header_bytes);
    Result<FatbinEntry> entry =
        entry_of(head, header, rest.subspan(head.header_bytes, head.payload_bytes));
    if (!entry.ok()) return entry.status();
    entry.value().stored = rest.first(bytes);
    entries.push_back(entry.value());
    rest = rest.subspan(bytes);
  }
  return entries;
}

Result<std::vector<std::byte>> entry_bytes(const FatbinEntry& entry) {
  if (entry.compression != Compression::kNone) return decompress(entry);
  if (entry.payload.size() > limits::kImageEntryBytesMax) {
    return Status(Code::kOverQuota, "a fatbin entry of more than 1 GiB");
  }
  return std::vector<std::byte>(entry.payload.begin(), entry.payload.end());
}

Result<std::string> ptx_text(const FatbinEntry& entry) {
  if (entry.kind != EntryKind::kPtx) return Status(Code::kUnsupported, "no PTX entry");
  Result<std::vector<std::byte>> bytes = entry_bytes(entry);
  if (!bytes.ok()) return bytes.status();
  const auto nul = std::find(bytes->begin(), bytes->end(), std::byte{0});
  return std::string(reinterpret_cast<const char*>(bytes->data()),
                     static_cast<std::size_t>(nul - bytes->begin()));
}

Result<std::uint32_t> elf_sm(std::span<const std::byte> elf) {
  constexpr std::uint16_t kMachineCuda = 190;
  Elf64_Ehdr header;
  if (elf.size() < sizeof header) return malformed("an ELF shorter than its header");
  std::memcpy(&header, elf.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != kMachineCuda) {
    return malformed("an ELF that holds no GPU code");
  }
  return (header.e_flags >> 8) & 0xff;
}

}  // namespace farcall::cuda
