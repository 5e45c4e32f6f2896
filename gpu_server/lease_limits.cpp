#include "gpu_server/lease_limits.h"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

namespace farcall::server {
namespace {

constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 60;
constexpr std::size_t kTextBytesMax = 1024;  // every word with its longest figure fits
constexpr std::string_view kUnits = "KMGT";

enum class Measure { kBytes, kPercent, kCount };

struct Word {
  std::string_view name;
  Measure measure;
  std::string_view help;
  std::uint64_t LeaseLimits::*wide = nullptr;
  std::uint32_t LeaseLimits::*narrow = nullptr;
  std::uint64_t unlimited = kNoLimit;

  std::uint64_t get(const LeaseLimits& limits) const {
    return wide != nullptr ? limits.*wide : std::uint64_t{limits.*narrow};
  }
  void set(LeaseLimits& limits, std::uint64_t value) const {
    if (wide != nullptr) limits.*wide = value;
    if (narrow != nullptr) limits.*narrow = static_cast<std::uint32_t>(value);
  }
};

const Word kWords[] = {
    {"memory", Measure::kBytes, "of each device", &LeaseLimits::memory_bytes},
    {"compute", Measure::kPercent, "of each device's time, in percent, while others want it too",
     nullptr, &LeaseLimits::compute_percent, 100},
    {"sessions", Measure::kCount, "client processes at a time", nullptr,
     &LeaseLimits::sessions_max},
    {"threads", Measure::kCount, "client threads of one process", nullptr,
     &LeaseLimits::threads_max},
    {"handles", Measure::kCount, "live streams, events, modules … of one process", nullptr,
     &LeaseLimits::handles_max},
    {"images", Measure::kBytes, "of code loaded at a time", &LeaseLimits::image_bytes_max},
    {"in-flight", Measure::kBytes, "of host memory for copies under way",
     &LeaseLimits::in_flight_bytes_max},
};

Status wrong(std::string_view word, const std::string& what) {
  return Status(Code::kUnsupported, "\"" + std::string(word.substr(0, 64)) + "\": " + what);
}

std::string known_words() {
  std::string all;
  for (const Word& word : kWords) all += (all.empty() ? "" : ", ") + std::string(word.name);
  return all;
}

Result<std::uint64_t> parse_count(std::string_view word, std::uint64_t most) {
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  const bool whole = error == std::errc() && end == word.data() + word.size();
  if (whole && number >= 1 && number <= most) return number;
  return wrong(word, "a number from 1 to " + std::to_string(most) + " belongs here");
}

Result<std::uint64_t> parse_value(Measure measure, std::string_view text) {
  switch (measure) {
    case Measure::kBytes: return parse_bytes(text);
    case Measure::kPercent: return parse_count(text, 100);
    case Measure::kCount: return parse_count(text, UINT32_MAX);
  }
  return wrong(text, "not understood");
}

const Word* find_word(std::string_view name) {
  for (const Word& word : kWords) {
    if (word.name == name) return &word;
  }
  return nullptr;
}

// Powers of 1024 in a unit: "", "B", "K", "KiB", "G" …
std::optional<unsigned> unit_power(std::string_view unit) {
  if (unit.empty() || unit == "B") return 0;
  const std::size_t at = kUnits.find(unit[0]);
  if (at == std::string_view::npos) return std::nullopt;
  if (unit.size() != 1 && unit.substr(1) != "iB") return std::nullopt;
  return static_cast<unsigned>(at) + 1;
}

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view word) {
  double number = 0;
  auto [end, error] =
      std::from_chars(word.data(), word.data() + word.size(), number, std::chars_format::fixed);
  const auto power = unit_power(word.substr(static_cast<std::size_t>(end - word.data())));
  if (error == std::errc() && power && std::isfinite(number)) {
    const double bytes = std::ldexp(number, static_cast<int>(10 * *power));
    if (bytes >= 1 && bytes <= static_cast<double>(kBytesMax)) {
      return static_cast<std::uint64_t>(bytes);
    }
  }
  return wrong(word, "a size such as 512MiB or 20GiB belongs here");
}

std::string bytes_text(std::uint64_t bytes) {
  std::size_t power = 0;
  while (power < kUnits.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++power;
  }
  std::string text = std::to_string(bytes);
  if (power > 0) text += kUnits.substr(power - 1, 1), text += "iB";
  return text;
}

Result<LeaseLimits> parse_lease_limits(std::string_view text) {
  LeaseLimits limits;
  if (text.size() > kTextBytesMax) return wrong(text, "too long");
  std::array<bool, std::size(kWords)> seen{};
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t equals = part.find('=');
    const Word* word = find_word(part.substr(0, equals));
    if (word == nullptr || equals == std::string_view::npos) {
      return wrong(part, "NAME=VALUE belongs here, with a name of " + known_words());
    }
    bool& again = seen[static_cast<std::size_t>(word - kWords)];
    if (std::exchange(again, true)) return wrong(part, "given twice");
    Result<std::uint64_t> value = parse_value(word->measure, part.substr(equals + 1));
    if (!value.ok())
      return Status(Code::kUnsupported, std::string(word->name) + "=" + value.status().text());
    word->set(limits, value.value());
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return wrong(",", "nothing stands behind the comma");
  }
  return limits;
}

std::string to_string(const LeaseLimits& limits) {
  std::string text;
  for (const Word& word : kWords) {
    const std::uint64_t value = word.get(limits);
    if (value == word.unlimited) continue;
    if (!text.empty()) text += ",";
    text += std::string(word.name) + "=" +
            (word.measure == Measure::kBytes ? bytes_text(value) : std::to_string(value));
  }
  return text;
}

std::string lease_limits_help() {
  std::string help;
  for (const Word& word : kWords) {
    help += "  " + std::string(word.name) + std::string(11 - word.name.size(), ' ') +
            std::string(word.help) + "\n";
  }
  return help;
}

}  // namespace farcall::server
