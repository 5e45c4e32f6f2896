// What of an image is sent, given the devices.
#include "transport/cuda/image_trim.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "tests/transport/cuda/test_data.h"

using namespace farcall;
using namespace farcall::cuda;

namespace {

// One word per entry: "elf90", "ptx75", with "a" or "f" for special ones, "@8" for a version.
FatbinEntry entry_of(const std::string& word) {
  FatbinEntry entry;
  entry.kind = word.starts_with("elf")   ? EntryKind::kElf
               : word.starts_with("ptx") ? EntryKind::kPtx
                                         : EntryKind::kOther;
  std::size_t used = 0;
  entry.sm = static_cast<std::uint32_t>(std::stoul(word.substr(3), &used));
  entry.arch_specific = word.find('a', 3) != std::string::npos;
  entry.family_specific = word.find('f', 3) != std::string::npos;
  const std::size_t at = word.find('@');
  if (at != std::string::npos) {
    entry.version = static_cast<std::uint32_t>(std::stoul(word.substr(at + 1)));
  }
  return entry;
}

std::string kept(const std::vector<std::string>& words, std::vector<std::uint32_t> sms,
                 TrimRule rule = TrimRule::kOneIsChosen) {
  std::vector<FatbinEntry> entries;
  for (const std::string& word : words) entries.push_back(entry_of(word));
  const std::vector<char> used = usable_entries(entries, sms, rule);
  std::string all;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (used[i] != 0) all += (all.empty() ? "" : " ") + words[i];
  }
  return all;
}

// A container of entries of `bytes` bytes each, as nvcc writes them.
std::vector<std::byte> container(const std::vector<std::string>& words, std::size_t bytes) {
  std::vector<std::byte> made(16);
  auto put = [&](std::size_t at, std::uint64_t value, std::size_t width) {
    std::memcpy(made.data() + at, &value, width);
  };
  for (const std::string& word : words) {
    const FatbinEntry entry = entry_of(word);
    const std::size_t at = made.size();
    made.resize(at + 64 + bytes, std::byte{0x5a});
    std::memset(made.data() + at, 0, 64);
    put(at, entry.kind == EntryKind::kPtx ? 1 : 2, 2);
    put(at + 4, 64, 4);
    put(at + 8, bytes, 4);
    put(at + 0x1c, entry.sm, 4);
  }
  put(0, 0xba55ed50, 4);
  put(4, 1, 2);
  put(6, 16, 2);
  put(8, made.size() - 16, 8);
  return made;
}

struct Wrapper {
  std::uint32_t magic = 0x466243b1, version = 1;
  const void* data = nullptr;
  const void* more = nullptr;
};

std::string entries_of(const ImagePart& part) {
  std::string all;
  const std::vector<FatbinEntry> entries = container_entries(part.bytes).value();
  for (const FatbinEntry& entry : entries) {
    all += (entry.kind == EntryKind::kElf ? " elf" : " ptx") + std::to_string(entry.sm);
  }
  return all;
}

}  // namespace

TEST_CASE("the nearest code that runs is kept, and the newest text that compiles") {
  const std::vector<std::string> all = {"elf75", "elf80",  "elf86",  "elf89", "elf90",
                                        "ptx75", "ptx120", "elf100", "ptx80"};
  CHECK(kept(all, {90}) == "elf90 ptx80");
  CHECK(kept(all, {87}) == "elf86 ptx80");
  CHECK(kept(all, {75}) == "elf75 ptx75");
  CHECK(kept(all, {121}) == "ptx120");
  CHECK(kept(all, {75, 90}) == "elf75 elf90 ptx75 ptx80");
  CHECK(kept(all, {}) == "elf75 elf80 elf86 elf89 elf90 ptx75 ptx120 elf100 ptx80");
}

TEST_CASE("code for one architecture is kept there, code for a family within it") {
  CHECK(kept({"elf90", "elf90a", "ptx90a"}, {90}) == "elf90 elf90a ptx90a");
  CHECK(kept({"elf80", "elf90a", "ptx80"}, {100}) == "ptx80");
  CHECK(kept({"elf100f", "elf100", "elf103a", "ptx90"}, {103}) == "elf100f elf100 elf103a ptx90");
  CHECK(kept({"elf100f", "elf100a", "ptx90"}, {120}) == "ptx90");
  CHECK(kept({"elf101", "elf110", "elf100"}, {110}) == "elf101 elf110");
}

TEST_CASE("where a doubt remains, entries are kept") {
  // Text newer than the device, an unknown kind, an unknown architecture.
  CHECK(kept({"ptx121", "ptx120", "elf80"}, {90}) == "ptx120");
  CHECK(kept({"xyz90", "elf75", "elf90"}, {90}) == "xyz90 elf90");
  CHECK(kept({"elf75", "elf0", "elf90"}, {90}) == "elf0 elf90");
  // A driver that is older than the newest version takes the next one.
  CHECK(kept({"ptx90@9", "ptx80@8", "ptx75@8"}, {90}) == "ptx90@9 ptx80@8");
  // Parts that are linked with each other.
  CHECK(kept({"elf75", "elf80", "elf86", "ptx75", "ptx80"}, {86}, TrimRule::kLinked) ==
        "elf80 elf86 ptx75 ptx80");
  // Nothing fits: the driver says so itself.
  CHECK(kept({"elf75", "elf80"}, {90}).size() == 5);
  CHECK(kept({}, {90}).empty());
}

TEST_CASE("what is made for an embedded GPU does not stand in for what others need") {
  CHECK(kept({"elf80", "elf86", "elf87"}, {89}) == "elf86 elf87");
  CHECK(kept({"elf80", "elf86", "elf87", "elf88"}, {89}) == "elf86 elf87 elf88");
  CHECK(kept({"elf70", "elf72", "ptx70", "ptx72"}, {75}) == "elf70 elf72 ptx70 ptx72");
  CHECK(kept({"elf50", "elf53", "elf60", "elf61", "elf62"}, {61}) == "elf61");
  // On the embedded one itself, and where better is to be had, it is as any other.
  CHECK(kept({"elf80", "elf86", "elf87"}, {87}) == "elf87");
  CHECK(kept({"elf80", "elf87", "elf89"}, {89}) == "elf89");
  CHECK(kept({"elf101", "elf110", "ptx101", "ptx90"}, {110}) == "elf101 elf110 ptx101");
}

TEST_CASE("several entries for one architecture stay together") {
  CHECK(kept({"elf90", "elf90", "ptx90", "ptx90", "ptx75"}, {90}) == "elf90 elf90 ptx90 ptx90");
}

TEST_CASE("a trimmed image is one that loads, and shorter") {
  const std::vector<std::byte> image =
      container({"elf75", "elf80", "elf90", "ptx75", "elf100"}, 4096);
  const Wrapper wrapper{.data = image.data()};
  const std::uint32_t sms[] = {90};
  for (const void* at :
       {static_cast<const void*>(&wrapper), static_cast<const void*>(image.data())}) {
    const PackedImage pieces = pack_pieces(at, sms).value();
    CHECK(pieces.left_out() == 3 * (4096 + 64));
    const std::vector<std::byte> packed = pack_image(at, sms).value();
    REQUIRE(packed.size() == pieces.bytes());
    for (std::size_t step : {1u, 63u, 64u, 4096u}) {
      std::vector<std::byte> again(packed.size(), std::byte{0xff});
      for (std::size_t from = 0; from < again.size(); from += step) {
        pieces.read(from, std::span(again).subspan(from, std::min(step, again.size() - from)));
      }
      CHECK(again == packed);
    }
    Result<UnpackedImage> unpacked = unpack_image(packed);
    REQUIRE_MESSAGE(unpacked.ok(), unpacked.status().to_string());
    CHECK(image_form(unpacked->image()).value() == image_form(at).value());
    CHECK(entries_of(unpacked->parts()[0]) == " elf90 ptx75");
    CHECK(container_entries(unpacked->parts()[0].bytes).value()[0].payload.size() == 4096);
  }
}

TEST_CASE("images that nvcc made are trimmed to what still loads") {
  for (const char* name :
       {"two_archs.fatbin", "zstd.fatbin", "relocatable.fatbin", "scale.cubin"}) {
    CAPTURE(name);
    const std::vector<std::byte> image = data_file(name);
    for (std::uint32_t sm : {75u, 90u, 120u}) {
      Result<std::vector<std::byte>> packed = pack_image(image.data(), std::span(&sm, 1));
      REQUIRE(packed.ok());
      CHECK(unpack_image(packed.value()).ok());
      CHECK(packed->size() <= pack_image(image.data())->size());
    }
  }
}

TEST_CASE("a container that cannot be read goes as it is") {
  std::vector<std::byte> image = container({"elf75", "elf90"}, 64);
  const std::uint32_t lie = 100'000;  // an entry that leaves its container
  std::memcpy(image.data() + 16 + 8, &lie, sizeof lie);
  const std::uint32_t sms[] = {90};
  CHECK(pack_image(image.data(), sms).value() == pack_image(image.data()).value());
  const std::vector<std::byte> empty = container({}, 0);
  CHECK(pack_image(empty.data(), sms).value() == pack_image(empty.data()).value());
}
