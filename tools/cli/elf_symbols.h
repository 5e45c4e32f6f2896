// ElfSymbols: which function of a program or library an offset lies in.
//
//   ElfSymbols symbols("/usr/bin/python3");
//   std::string name = symbols.at(offset);              // "train_step(float*)"; empty: not known
//
// Owner: the object holds the names.  Threads: one.  A file that is gone, stripped or not ELF has
// no names; one that contradicts itself has those that make sense.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::cli {

class ElfSymbols {
 public:
  explicit ElfSymbols(const std::string& path);
  static ElfSymbols of_bytes(std::string_view file);

  // offset: from where the file was loaded. C++ names are shown as written in the source.
  std::string at(std::uint64_t offset) const;

 private:
  ElfSymbols() = default;
  void read(std::string_view file);
  struct Symbol {
    std::uint64_t begin;
    std::uint64_t bytes;
    std::string name;
  };
  std::vector<Symbol> symbols_;  // by begin
};

}  // namespace farcall::cli
