// Every cu* symbol that NVIDIA's libcuda.so exports is in the table, or in missing_exports.txt.
//
// The list is read from the toolkit's stub library, by reading its dynamic symbol table ourselves:
// loading it would run its code. Without a toolkit the test has nothing to compare and says so.
#include <doctest/doctest.h>
#include <elf.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace {

using Names = std::set<std::string>;

const Names& served() {
  static const Names kNames = {
#define API(ID, F, WHEN, ...) #F,
#define API_PTSZ(ID, F, WHEN, ...) #F, #F "_ptsz",
#define HAND(ID, F, WHEN) #F,
#define HAND_PTSZ(ID, F, WHEN, N) #F, #F "_ptsz",
#define LOCAL(F) #F,
#define LOCAL_PTSZ(F, N) #F, #F "_ptsz",
#define LOCAL_ONLY(F) #F,
#define PTDS(TWIN, F, N) #TWIN,
#define PTDS_WAITS(TWIN, F, N) #TWIN,
#define SAME(F, G, N) #F,
#define REFUSE(F, WHY) #F,
#include "transport/api/table.inc"
  };
  return kNames;
}

Names listed_as_missing() {
  Names names;
  std::ifstream list(FARCALL_MISSING_EXPORTS);
  for (std::string line; std::getline(list, line);) {
    if (!line.empty() && line[0] != '#') names.insert(line);
  }
  return names;
}

std::vector<char> stub_library() {
  const char* home = std::getenv("CUDA_HOME");
  std::vector<std::string> paths;
  if (home != nullptr) paths.push_back(std::string(home) + "/lib64/stubs/libcuda.so");
  paths.push_back(FARCALL_CUDA_STUB);
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (file) return {std::istreambuf_iterator<char>(file), {}};
  }
  return {};
}

template <class T>
T at(const std::vector<char>& file, std::size_t offset) {
  T value{};
  REQUIRE(offset + sizeof(T) <= file.size());
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

// The defined functions in .dynsym that begin with "cu".
Names exports(const std::vector<char>& file) {
  Names names;
  auto head = at<Elf64_Ehdr>(file, 0);
  REQUIRE(std::memcmp(head.e_ident, ELFMAG, SELFMAG) == 0);
  for (unsigned i = 0; i < head.e_shnum; ++i) {
    auto section = at<Elf64_Shdr>(file, head.e_shoff + i * head.e_shentsize);
    if (section.sh_type != SHT_DYNSYM) continue;
    auto text = at<Elf64_Shdr>(file, head.e_shoff + section.sh_link * head.e_shentsize);
    for (std::size_t j = 0; j < section.sh_size / sizeof(Elf64_Sym); ++j) {
      auto symbol = at<Elf64_Sym>(file, section.sh_offset + j * sizeof(Elf64_Sym));
      if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
      std::string name(file.data() + text.sh_offset + symbol.st_name);
      if (name.rfind("cu", 0) == 0) names.insert(name);
    }
  }
  return names;
}

}  // namespace

TEST_CASE("every export of libcuda is in the table or known to be missing") {
  std::vector<char> file = stub_library();
  if (file.empty()) {
    MESSAGE("no stub libcuda.so here: nothing to compare with");
    return;
  }
  Names real = exports(file);
  CHECK(real.size() > 600);
  Names known = listed_as_missing();
  for (const std::string& name : real) {
    bool has_row = served().contains(name);
    bool is_listed = known.contains(name);
    CAPTURE(name);
    // A function without a row and not in the list: add a row, if only a REFUSE with its reason.
    CHECK((has_row || is_listed));
    // Served now: take it off the list.
    CHECK_FALSE((has_row && is_listed));
  }
  for (const std::string& name : known) {
    CAPTURE(name);
    CHECK(real.contains(name));
  }
}

TEST_CASE("the table names no function that libcuda does not export") {
  std::vector<char> file = stub_library();
  if (file.empty()) return;
  Names real = exports(file);
  for (const std::string& name : served()) {
    CAPTURE(name);
    CHECK(real.contains(name));
  }
}
