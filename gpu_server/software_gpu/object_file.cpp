#include "gpu_server/software_gpu/object_file.h"

#include <ar.h>
#include <elf.h>

#include <charconv>
#include <cstdint>
#include <cstring>

namespace farcall::softgpu {
namespace {

using Bytes = std::span<const std::byte>;

// [offset, offset + bytes) of `all`, or nothing where it does not lie in there.
Bytes part(Bytes all, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > all.size() || all.size() - offset < bytes) return {};
  return all.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
}

template <class T>
bool read(Bytes all, std::uint64_t offset, T* value) {
  const Bytes here = part(all, offset, sizeof(T));
  if (here.empty()) return false;
  std::memcpy(value, here.data(), sizeof(T));
  return true;
}

std::string_view text_at(Bytes strings, std::uint32_t offset) {
  if (offset >= strings.size()) return {};
  const auto* begin = reinterpret_cast<const char*>(strings.data()) + offset;
  return {begin, ::strnlen(begin, strings.size() - offset)};
}

}  // namespace

std::vector<Bytes> elf_sections(Bytes elf, std::string_view name) {
  std::vector<Bytes> found;
  Elf64_Ehdr head;
  if (!read(elf, 0, &head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return found;
  if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_shentsize != sizeof(Elf64_Shdr)) return found;
  const Bytes table = part(elf, head.e_shoff, std::uint64_t{head.e_shnum} * sizeof(Elf64_Shdr));
  Elf64_Shdr names;
  if (!read(table, std::uint64_t{head.e_shstrndx} * sizeof(Elf64_Shdr), &names)) return found;
  const Bytes strings = part(elf, names.sh_offset, names.sh_size);
  for (std::uint64_t i = 0; i < head.e_shnum; ++i) {
    Elf64_Shdr section;
    if (!read(table, i * sizeof(Elf64_Shdr), &section) || section.sh_type == SHT_NOBITS) continue;
    if (text_at(strings, section.sh_name) != name) continue;
    const Bytes content = part(elf, section.sh_offset, section.sh_size);
    if (!content.empty()) found.push_back(content);
  }
  return found;
}

bool is_archive(Bytes bytes) {
  return bytes.size() >= SARMAG && std::memcmp(bytes.data(), ARMAG, SARMAG) == 0;
}

std::vector<Bytes> archive_members(Bytes archive) {
  std::vector<Bytes> members;
  if (!is_archive(archive)) return members;
  ar_hdr head;
  for (std::uint64_t at = SARMAG; read(archive, at, &head);) {
    at += sizeof head;
    std::uint64_t bytes = 0;
    const char* const end = head.ar_size + sizeof head.ar_size;
    if (std::from_chars(head.ar_size, end, bytes).ec != std::errc{}) break;
    const Bytes content = part(archive, at, bytes);
    if (content.size() != bytes) break;
    // "/" and "/SYM64/" hold symbols, "//" long names; "/123" is a member with a long name.
    const bool is_table =
        head.ar_name[0] == '/' && (head.ar_name[1] < '0' || head.ar_name[1] > '9');
    if (!is_table) members.push_back(content);
    at += bytes + bytes % 2;
  }
  return members;
}

}  // namespace farcall::softgpu
