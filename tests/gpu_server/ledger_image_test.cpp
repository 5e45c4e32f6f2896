// What loading an image takes, read out of the image.
#include "gpu_server/ledger_image.h"

#include <doctest/doctest.h>
#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

#include "gpu_server/ledger_ptx.h"

namespace farcall::server {
namespace {

TEST_CASE("variables of a PTX text are added up") {
  for (const auto& each : std::vector<std::pair<const char*, std::uint64_t>>{
           {"", 0},
           {".global .b8 a;", 1},
           {".global .align 4 .b32 a[100], b;", 404},
           {".visible .global .align 16 .v4 .f32 a[2][3];", 96},
           {".const .u64 table[4] = {1, 2, 3, 4};", 32},
           {".global .b8 text[] = {72, 105, 0};", 3},
           {".global .attribute(.managed) .align 8 .f64 m[0x10];", 128},
           {".global .f16x2 h[3];", 12},
           {".weak .global .b8 a[010];", 8},
           {".global .b8 a[0b11U];", 3},
           {".global .u32 p = generic(other), q;", 8},
           {".global .b32 r<10>;", 40},
           {".version 8.0\n.target sm_80\n.address_size 64\n.global .b8 a[7];", 7},
           {"/* .global .b8 a[9]; */ // .global .b8 b[9];\n.global .b8 c[2];", 2},
           {".file 1 \".global .b8 a[9];\"\n.global .b8 c[2];", 2},
           {".visible .entry k(.param .u64 .ptr .global .align 4 p)\n{ ld.global.u32 %r1, [%rd1]; "
            ".global .b8 inside[5]; ret; }",
            5},
           {".shared .b8 s[1000]; .local .b8 l[1000];", 0}}) {
    const auto [text, bytes] = each;
    INFO(each.first);
    CHECK(ptx_variable_bytes(text) == bytes);
  }
}

TEST_CASE("what cannot be computed counts as more than anybody has") {
  for (const char* text :
       {".global .b8 a[1024*1024];", ".global .b8 a[99999999999999999999];", ".global .b8 a[x];",
        ".global .b64 a[4294967296][4294967296];", ".global .b8 a[8", ".global .b8 a["}) {
    CAPTURE(text);
    CHECK(ptx_variable_bytes(text) == UINT64_MAX);
  }
}

TEST_CASE("nothing a text leaves open hides a declaration behind it") {
  CHECK(ptx_variable_bytes("call (%r1, f;\n.global .b8 a[100];") == 100);
  CHECK(ptx_variable_bytes(".reg .b32 r; } } .global .b8 a[100];") == 100);
  // Cut short anywhere, a text is read to its end.
  const std::string whole = ".const .align 4 .v2 .b32 a[4][2] = {{1, 2}, {3}}, b; /* */ \"x\" ( .";
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    (void)ptx_variable_bytes(whole.substr(0, length));
  }
}

std::vector<std::byte> elf_of(std::initializer_list<std::pair<std::uint64_t, std::uint64_t>> all) {
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_shoff = sizeof head;
  head.e_shentsize = sizeof(Elf64_Shdr);
  head.e_shnum = static_cast<std::uint16_t>(all.size());
  std::vector<std::byte> elf(sizeof head + all.size() * sizeof(Elf64_Shdr));
  std::memcpy(elf.data(), &head, sizeof head);
  std::size_t at = sizeof head;
  for (auto [flags, bytes] : all) {
    Elf64_Shdr section{};
    section.sh_flags = flags;
    section.sh_size = bytes;
    std::memcpy(elf.data() + at, &section, sizeof section);
    at += sizeof section;
  }
  return elf;
}

TEST_CASE("of an ELF counts what lies in memory, be it in the file or not") {
  CHECK(elf_memory_bytes(elf_of(
            {{SHF_ALLOC, 100}, {0, 1000}, {SHF_ALLOC | SHF_WRITE, 1u << 30}})) == 100 + (1u << 30));
  CHECK(elf_memory_bytes(elf_of({{SHF_ALLOC, UINT64_MAX}, {SHF_ALLOC, 2}})) == UINT64_MAX);
  auto elf = elf_of({{SHF_ALLOC, 100}, {SHF_ALLOC, 50}});
  for (std::size_t length = 0; length < elf.size(); ++length) {  // cut short
    (void)elf_memory_bytes(std::span(elf).first(length));
  }
  std::vector<std::byte> other(10);
  CHECK(elf_memory_bytes(other) == 10);
}

TEST_CASE("an image that is text counts its length and its variables") {
  const std::string text = ".global .b8 a[1048576];";
  ImageNeed need = image_need(text.c_str(), 90, true);
  CHECK(need.image_bytes == text.size() + 1);
  CHECK(need.memory_bytes >= (1u << 20) + text.size());
  CHECK(image_need(text.c_str(), 90, false).memory_bytes == 0);
  CHECK(image_need(nullptr, 90, true).memory_bytes == 0);
}

}  // namespace
}  // namespace farcall::server
