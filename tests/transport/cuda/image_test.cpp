#include "transport/cuda/image.h"

#include <doctest/doctest.h>
#include <lz4.h>
#include <zstd.h>

#include <cstring>

#include "tests/transport/cuda/test_data.h"

using namespace farcall;
using namespace farcall::cuda;

namespace {

struct Wrapper {
  std::uint32_t magic = 0x466243b1, version = 1;
  const void* data = nullptr;
  const void* more = nullptr;
};

FatbinEntry ptx_entry(std::span<const std::byte> container) {
  Result<std::vector<FatbinEntry>> entries = container_entries(container);
  REQUIRE(entries.ok());
  for (const FatbinEntry& entry : entries.value()) {
    if (entry.kind == EntryKind::kPtx) return entry;
  }
  FAIL("no PTX entry");
  return {};
}

void same_parts(const std::vector<ImagePart>& a, const std::vector<ImagePart>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].form == b[i].form);
    REQUIRE(a[i].bytes.size() == b[i].bytes.size());
    CHECK(std::memcmp(a[i].bytes.data(), b[i].bytes.data(), a[i].bytes.size()) == 0);
  }
}

}  // namespace

TEST_CASE("containers of every compression hold the same PTX") {
  const std::string wanted = ptx_text(ptx_entry(data_file("plain.fatbin"))).value();
  CHECK(wanted.find(".entry scale") != std::string::npos);
  CHECK(wanted.find('\0') == std::string::npos);
  const std::pair<const char*, Compression> files[] = {{"plain.fatbin", Compression::kNone},
                                                       {"zstd.fatbin", Compression::kZstd},
                                                       {"all_zstd.fatbin", Compression::kZstd},
                                                       {"lz4.fatbin", Compression::kLz4}};
  for (const auto& file : files) {
    const auto [name, compression] = file;
    CAPTURE(file.first);
    const std::vector<std::byte> container = data_file(name);
    const FatbinEntry entry = ptx_entry(container);
    CHECK(entry.compression == compression);
    CHECK(entry.sm == 90);
    CHECK_FALSE(entry.relocatable);
    CHECK(ptx_text(entry).value() == wanted);
  }
}

TEST_CASE("an ELF entry decompresses to the cubin that nvcc writes") {
  const std::vector<std::byte> container = data_file("all_zstd.fatbin");
  Result<std::vector<FatbinEntry>> entries = container_entries(container);
  REQUIRE(entries.ok());
  int found = 0;
  for (const FatbinEntry& entry : entries.value()) {
    if (entry.kind != EntryKind::kElf) continue;
    ++found;
    Result<std::vector<std::byte>> elf = entry_bytes(entry);
    REQUIRE(elf.ok());
    CHECK(elf_sm(elf.value()).value() == 90);
    CHECK(ptx_text(entry).status().code() == Code::kUnsupported);
  }
  CHECK(found == 1);
  CHECK(elf_sm(data_file("scale.cubin")).value() == 90);
  CHECK_FALSE(elf_sm(data_file("zstd.fatbin")).ok());
}

TEST_CASE("relocatable and architecture-specific entries say so") {
  const std::vector<std::byte> relocatable = data_file("relocatable.fatbin");
  CHECK(ptx_entry(relocatable).relocatable);
  const std::vector<std::byte> two = data_file("two_archs.fatbin");
  Result<std::vector<FatbinEntry>> entries = container_entries(two);
  REQUIRE(entries.ok());
  bool generic = false, specific = false;
  for (const FatbinEntry& entry : entries.value()) {
    generic |= entry.sm == 75 && entry.kind == EntryKind::kPtx && !entry.arch_specific;
    specific |= entry.sm == 90 && entry.kind == EntryKind::kElf && entry.arch_specific;
  }
  CHECK(generic);
  CHECK(specific);
}

TEST_CASE("an image's form and length come out of its own headers") {
  // More bytes follow each image, as in a real process.
  const std::pair<const char*, ImageForm> files[] = {{"zstd.fatbin", ImageForm::kContainer},
                                                     {"scale.cubin", ImageForm::kElf},
                                                     {"scale.ptx", ImageForm::kPtx}};
  for (const auto& file : files) {
    const auto [name, form] = file;
    CAPTURE(file.first);
    std::vector<std::byte> image = data_file(name);
    const std::size_t bytes = image.size();
    image.resize(bytes + 100);
    if (form != ImageForm::kPtx) std::memset(image.data() + bytes, 0xaa, 100);
    CHECK(image_form(image.data()).value() == form);
    Result<std::vector<ImagePart>> parts = image_parts(image.data());
    REQUIRE(parts.ok());
    REQUIRE(parts->size() == 1);
    CHECK(parts.value()[0].form == form);
    CHECK(parts.value()[0].bytes.size() == bytes + (form == ImageForm::kPtx ? 1 : 0));
  }
  CHECK_FALSE(image_form(nullptr).ok());
  CHECK(image_form("").value() == ImageForm::kPtx);
}

TEST_CASE("a wrapper leads to its container, a version-2 wrapper to all of them") {
  const std::vector<std::byte> first = data_file("zstd.fatbin");
  const std::vector<std::byte> second = data_file("relocatable.fatbin");
  Wrapper wrapper{.data = first.data()};
  Result<std::vector<ImagePart>> parts = image_parts(&wrapper);
  REQUIRE(parts.ok());
  REQUIRE(parts->size() == 1);
  CHECK(parts.value()[0].bytes.data() == first.data());

  const void* prelinked[] = {second.data(), first.data(), nullptr};
  wrapper.version = 2;
  wrapper.more = prelinked;
  parts = image_parts(&wrapper);
  REQUIRE(parts.ok());
  REQUIRE(parts->size() == 3);
  CHECK(parts.value()[1].bytes.data() == second.data());
  CHECK(parts.value()[1].bytes.size() == second.size());

  wrapper.version = 3;
  CHECK(image_parts(&wrapper).status().code() == Code::kMalformed);
  wrapper = Wrapper{};
  CHECK(image_parts(&wrapper).status().code() == Code::kMalformed);
}

TEST_CASE("a packed image comes back in a shape that loads") {
  const std::vector<std::byte> container = data_file("zstd.fatbin");
  const std::vector<std::byte> more = data_file("relocatable.fatbin");
  const std::vector<std::byte> cubin = data_file("scale.cubin");
  const std::string ptx = data_text("scale.ptx");
  const void* prelinked[] = {more.data(), nullptr};
  const Wrapper one{.data = container.data()};
  const Wrapper two{.version = 2, .data = container.data(), .more = prelinked};
  for (const void* image :
       {static_cast<const void*>(&one), static_cast<const void*>(&two),
        static_cast<const void*>(container.data()), static_cast<const void*>(cubin.data()),
        static_cast<const void*>(ptx.c_str())}) {
    Result<std::vector<std::byte>> packed = pack_image(image);
    REQUIRE(packed.ok());
    Result<UnpackedImage> unpacked = unpack_image(packed.value());
    REQUIRE_MESSAGE(unpacked.ok(), unpacked.status().to_string());
    UnpackedImage moved = std::move(unpacked).value();
    CHECK(image_form(moved.image()).value() == image_form(image).value());
    same_parts(image_parts(moved.image()).value(), image_parts(image).value());
    CHECK(moved.parts().size() == image_parts(image).value().size());
  }
}

TEST_CASE("a packed image can be read in pieces of any size") {
  const std::vector<std::byte> container = data_file("zstd.fatbin");
  const std::string ptx = data_text("scale.ptx");
  const void* prelinked[] = {ptx.c_str(), nullptr};
  const Wrapper wrapper{.version = 2, .data = container.data(), .more = prelinked};
  const std::vector<std::byte> whole = pack_image(&wrapper).value();
  const PackedImage pieces = pack_pieces(&wrapper).value();
  REQUIRE(pieces.bytes() == whole.size());
  for (std::size_t step : {1u, 7u, 100u, 4096u}) {
    std::vector<std::byte> again(whole.size(), std::byte{0xff});
    for (std::size_t at = 0; at < again.size(); at += step) {
      pieces.read(at, std::span(again).subspan(at, std::min(step, again.size() - at)));
    }
    CHECK(again == whole);
  }
}

TEST_CASE("a packed image that is cut short or corrupted is refused, never followed") {
  const std::vector<std::byte> container = data_file("lz4.fatbin");
  const void* prelinked[] = {container.data(), nullptr};
  const Wrapper wrapper{.version = 2, .data = container.data(), .more = prelinked};
  const std::vector<std::byte> packed = pack_image(&wrapper).value();
  for (std::size_t bytes = 0; bytes < packed.size(); bytes += bytes < 200 ? 1 : 97) {
    CHECK_FALSE(unpack_image({packed.begin(), packed.begin() + static_cast<long>(bytes)}).ok());
  }
  std::vector<std::byte> longer = packed;
  longer.resize(packed.size() + 8);
  CHECK_FALSE(unpack_image(longer).ok());
  // Any word of the heads: either refused, or still made of parts inside the buffer.
  for (std::size_t at = 0; at < 240; ++at) {
    std::vector<std::byte> bad = packed;
    bad[at] ^= std::byte{0x80};
    Result<UnpackedImage> unpacked = unpack_image(bad);
    if (!unpacked.ok()) continue;
    const std::vector<ImagePart> parts = image_parts(unpacked->image()).value();
    for (const ImagePart& part : parts) {
      CHECK(container_entries(part.bytes).ok());
    }
  }
}

TEST_CASE("an entry without a byte is an empty text") {
  FatbinEntry entry;
  entry.kind = EntryKind::kPtx;
  for (Compression compression : {Compression::kNone, Compression::kZstd, Compression::kLz4}) {
    entry.compression = compression;
    CHECK(ptx_text(entry).value().empty());
  }
}

TEST_CASE("entries that lie about their sizes are refused") {
  std::vector<std::byte> container = data_file("zstd.fatbin");
  FatbinEntry entry = ptx_entry(container);
  entry.uncompressed_bytes = std::uint64_t{1} << 40;
  CHECK(entry_bytes(entry).status().code() == Code::kOverQuota);
  entry.uncompressed_bytes = std::uint64_t{1} << 29;
  CHECK(entry_bytes(entry).status().code() == Code::kMalformed);
  entry.uncompressed_bytes = 10;
  CHECK(entry_bytes(entry).status().code() == Code::kMalformed);
  entry.compression = Compression::kLz4;
  CHECK(entry_bytes(entry).status().code() == Code::kMalformed);
  const std::uint32_t short_header = 60;
  std::memcpy(container.data() + 16 + 4, &short_header, sizeof short_header);
  CHECK(container_entries(container).status().code() == Code::kMalformed);
  const std::uint64_t beyond = container.size();
  std::memcpy(container.data() + 8, &beyond, sizeof beyond);
  CHECK(container_entries(container).status().code() == Code::kMalformed);
}

TEST_CASE("a container cut short at any byte is refused, or its entries are within it") {
  for (const char* name : {"plain.fatbin", "zstd.fatbin", "lz4.fatbin", "two_archs.fatbin"}) {
    CAPTURE(name);
    const std::vector<std::byte> whole = data_file(name);
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      // Of exactly that size, so that a reader that goes on is seen.
      const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<long>(bytes));
      CHECK_FALSE(container_entries(cut).ok());
    }
    // The header says less than there is: what is left of the entries must still hold together.
    for (std::uint64_t claimed = 0; claimed < whole.size() - 16; ++claimed) {
      std::vector<std::byte> shorter = whole;
      std::memcpy(shorter.data() + 8, &claimed, sizeof claimed);
      Result<std::vector<FatbinEntry>> entries = container_entries(shorter);
      if (!entries.ok()) continue;
      for (const FatbinEntry& entry : entries.value()) {
        const std::byte* end = entry.stored.data() + entry.stored.size();
        CHECK(end <= shorter.data() + 16 + claimed);
      }
    }
  }
}

TEST_CASE("a decompression bomb is refused before room is made for it") {
  // A gigabyte of zeros in the fewest bytes: far beyond what code compresses to.
  const std::vector<std::byte> zeros(std::size_t{64} << 20);
  std::vector<std::byte> bomb(ZSTD_compressBound(zeros.size()));
  bomb.resize(ZSTD_compress(bomb.data(), bomb.size(), zeros.data(), zeros.size(), 19));
  FatbinEntry entry;
  entry.kind = EntryKind::kPtx;
  entry.compression = Compression::kZstd;
  entry.payload = bomb;
  entry.uncompressed_bytes = zeros.size();
  REQUIRE(bomb.size() < zeros.size() / 4096);
  CHECK(ptx_text(entry).status().code() == Code::kMalformed);
  // LZ4 reaches no such ratio; what it holds more than it claims is not written.
  std::vector<std::byte> dense(
      static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(zeros.size()))));
  dense.resize(static_cast<std::size_t>(LZ4_compress_default(
      reinterpret_cast<const char*>(zeros.data()), reinterpret_cast<char*>(dense.data()),
      static_cast<int>(zeros.size()), static_cast<int>(dense.size()))));
  entry.compression = Compression::kLz4;
  entry.payload = dense;
  CHECK(entry_bytes(entry).value().size() == zeros.size());
  entry.uncompressed_bytes = 1000;
  CHECK(entry_bytes(entry).status().code() == Code::kMalformed);
  entry.compression = Compression::kZstd;
  entry.payload = bomb;
  CHECK(entry_bytes(entry).status().code() == Code::kMalformed);
}
