#include "tools/cli/elf_symbols.h"

#include <cxxabi.h>
#include <elf.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

namespace farcall::cli {
namespace {

// Bytes [at, at + count) of `file`; empty when they are not all there.
std::string_view slice(std::string_view file, std::uint64_t at, std::uint64_t count) {
  if (at > file.size() || count > file.size() - at) return {};
  return file.substr(at, count);
}

template <class T>
bool read_at(std::string_view file, std::uint64_t at, T* value) {
  std::string_view bytes = slice(file, at, sizeof(T));
  if (bytes.empty()) return false;
  std::memcpy(value, bytes.data(), sizeof(T));
  return true;
}

std::string demangled(const std::string& name) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 && text != nullptr ? text.get() : name;
}

}  // namespace

ElfSymbols::ElfSymbols(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  if (file) all << file.rdbuf();
  read(all.view());
}

ElfSymbols ElfSymbols::of_bytes(std::string_view file) {
  ElfSymbols symbols;
  symbols.read(file);
  return symbols;
}

void ElfSymbols::read(std::string_view file) {
  Elf64_Ehdr head{};
  if (!read_at(file, 0, &head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_shentsize != sizeof(Elf64_Shdr)) {
    return;
  }
  for (unsigned i = 0; i < head.e_shnum; ++i) {
    Elf64_Shdr section{}, names{};
    if (!read_at(file, head.e_shoff + i * sizeof section, &section)) return;
    if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM) continue;
    if (!read_at(file, head.e_shoff + section.sh_link * sizeof names, &names)) continue;
    const std::string_view text = slice(file, names.sh_offset, names.sh_size);
    const std::string_view table = slice(file, section.sh_offset, section.sh_size);
    Elf64_Sym symbol{};
    for (std::uint64_t at = 0; read_at(table, at, &symbol); at += sizeof symbol) {
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_value == 0) continue;
      const std::string_view rest = slice(
          text, symbol.st_name, text.size() - std::min<std::uint64_t>(symbol.st_name, text.size()));
      const std::size_t end = rest.find('\0');
      if (end == std::string_view::npos || end == 0) continue;
      symbols_.push_back({symbol.st_value, symbol.st_size, std::string(rest.substr(0, end))});
    }
  }
  std::sort(symbols_.begin(), symbols_.end(),
            [](const Symbol& a, const Symbol& b) { return a.begin < b.begin; });
}

std::string ElfSymbols::at(std::uint64_t offset) const {
  auto after = std::upper_bound(symbols_.begin(), symbols_.end(), offset,
                                [](std::uint64_t at, const Symbol& s) { return at < s.begin; });
  if (after == symbols_.begin()) return {};
  const Symbol& symbol = *std::prev(after);
  return offset - symbol.begin < symbol.bytes ? demangled(symbol.name) : std::string();
}

}  // namespace farcall::cli
