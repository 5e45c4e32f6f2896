#include "transport/base/switches.h"

#include <cstdlib>

namespace farcall {
namespace {

struct Entry {
  std::string_view word;
  std::string_view saves;
};
constexpr Entry kEntries[] = {
#define SWITCH(name, word, saves) {word, saves},
#include "transport/base/switches.def"
#undef SWITCH
};

constexpr std::uint32_t kAll = (std::uint32_t{1} << static_cast<unsigned>(Switch::kCount)) - 1;

// 0: no such switch.
std::uint32_t bits_of(std::string_view word) {
  if (word == "all") return kAll;
  std::uint32_t bit = 1;
  for (const Entry& entry : kEntries) {
    if (entry.word == word) return bit;
    bit <<= 1;
  }
  return 0;
}

std::string known_words() {
  std::string words = "all";
  for (const Entry& entry : kEntries) words.append(", ").append(entry.word);
  return words;
}

}  // namespace

std::atomic<std::uint32_t> g_switches_off{0};

Status turn_off(std::string_view names) {
  std::uint32_t off = 0;
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    const std::string_view word = names.substr(0, comma);
    names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
    if (word.empty()) continue;
    const std::uint32_t bits = bits_of(word);
    if (bits == 0) {
      return {Code::kUnsupported,
              "\"" + std::string(word) + "\" is nothing to turn off; known are " + known_words()};
    }
    off |= bits;
  }
  g_switches_off.store(off, std::memory_order_relaxed);
  return ok();
}

Status turn_off_from_environment() {
  const char* names = ::secure_getenv("FARCALL_OFF");
  return names == nullptr ? ok() : turn_off(names);
}

std::string switches_help() {
  std::string help;
  for (const Entry& entry : kEntries) {
    std::string line = "  ";
    line.append(entry.word).append(std::string(15 - entry.word.size(), ' ')).append(entry.saves);
    help += line + "\n";
  }
  return help;
}

}  // namespace farcall
