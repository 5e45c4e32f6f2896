#include "gpu_server/software_gpu/exec/checker.h"

#include <cxxabi.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <optional>

namespace farcall::softgpu {
namespace {

constexpr std::string_view kRule = "========= ";

// Calls f with each word of a list with commas; stops where it returns false.
template <class F>
bool each_word(std::string_view text, F f) {
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    if (!f(text.substr(0, comma))) return false;
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
  return true;
}

bool add_word(std::string_view word, CheckOptions& options) {
  if (word == "memory") return options.memory = true;
  if (word == "init") return options.init = true;
  if (word == "race") return options.race = true;
  if (word == "leak") return options.leak = true;
  if (word == "1" || word == "all") return options.memory = options.init = options.race = true;
  return false;
}

std::atomic<Checker*> g_active{nullptr};

std::string count_of(std::size_t number, const char* thing) {
  return std::to_string(number) + " " + thing + (number == 1 ? "" : "s");
}

}  // namespace

Checker* active_checker() { return g_active.load(std::memory_order_relaxed); }
void set_active_checker(Checker* checker) { g_active.store(checker); }

CheckOptions CheckOptions::parse(const char* text) {
  CheckOptions options;
  if (text != nullptr) {
    each_word(text, [&](std::string_view word) { return add_word(word, options), true; });
  }
  return options;
}

bool Checker::is_new(Mistake mistake, const void* instruction) {
  auto book = book_.lock();
  if (++book->seen[{instruction, mistake}] > 1) {
    ++book->repeated;
    return false;
  }
  if (book->problems - book->untold < kToldMax) return true;
  ++book->problems;
  ++book->untold;
  return false;
}

void Checker::report(const Finding& finding) {
  std::string text = std::string(kRule) + finding.what + "\n";
  for (const std::string& line : finding.lines) text += std::string(kRule) + "  " + line + "\n";
  {
    auto book = book_.lock();
    ++book->problems;
    if (!finding.kernel.empty()) book->kernels.insert(finding.kernel);
  }
  tell_(text);
}

std::size_t Checker::problems() const { return book_.lock()->problems; }

void Checker::tell_summary() {
  std::string text(kRule);
  {
    auto book = book_.lock();
    if (book->problems == 0) {
      text += "no problems found";
    } else {
      text += count_of(book->problems, "problem") + " found";
      if (!book->kernels.empty()) text += " in " + count_of(book->kernels.size(), "kernel");
      if (book->untold != 0) text += "; the last " + std::to_string(book->untold) + " are not told";
      if (book->repeated != 0) {
        text += "; met again " + count_of(book->repeated, "time") + " at the same instructions";
      }
    }
  }
  tell_(text + "\n");
}

std::string readable_name(const std::string& symbol) {
  if (!symbol.starts_with("_Z")) return symbol;  // "f" is no float
  int status = 0;
  char* const name = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  if (status != 0 || name == nullptr) return symbol;
  std::string readable(name);
  std::free(name);
  return readable;
}

namespace {

std::string_view trimmed(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  return first == std::string_view::npos ? "" : line.substr(first);
}

// The number at the start of `text`, which then begins behind it.
std::optional<unsigned> take_number(std::string_view& text) {
  text = trimmed(text);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

template <class F>
void each_line(std::string_view text, F f) {
  std::uint32_t number = 1;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (!f(number++, trimmed(text.substr(0, end)))) return;
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
  }
}

// "/home/ana/vadd.cu" of `.file 1 "/home/ana/vadd.cu"`, without the folders.
std::string file_named(std::string_view ptx_text, unsigned wanted) {
  std::string name;
  each_line(ptx_text, [&](std::uint32_t, std::string_view line) {
    if (!line.starts_with(".file")) return true;
    line.remove_prefix(5);
    if (take_number(line) != wanted) return true;
    const std::size_t open = line.find('"');
    const std::size_t close = open == std::string_view::npos ? open : line.find('"', open + 1);
    if (close == std::string_view::npos) return true;
    const std::string_view path = line.substr(open + 1, close - open - 1);
    const std::size_t slash = path.rfind('/');
    name = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
    return false;
  });
  return name;
}

}  // namespace

std::string source_of(std::string_view ptx_text, std::uint32_t ptx_line) {
  unsigned file = 0, line_of_file = 0;
  each_line(ptx_text, [&](std::uint32_t number, std::string_view line) {
    if (number > ptx_line) return false;
    if (line.starts_with("{")) file = 0;  // a function begins: what another one said is over
    if (!line.starts_with(".loc")) return true;
    line.remove_prefix(4);
    const auto in = take_number(line);
    const auto at = take_number(line);
    if (in && at) {
      file = *in;
      line_of_file = *at;
    }
    return true;
  });
  if (file == 0) return "";
  const std::string name = file_named(ptx_text, file);
  return name.empty() ? "" : name + ":" + std::to_string(line_of_file);
}

}  // namespace farcall::softgpu
