#include "tools/cli/units.h"

#include <charconv>

namespace farcall::cli {
namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kYear = 366 * kDay;

// Takes a number off the front of `text`; false when there is none.
bool take_number(std::string_view* text, std::uint64_t* number) {
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), *number);
  if (parsed.ec != std::errc() || parsed.ptr == text->data()) return false;
  text->remove_prefix(static_cast<std::size_t>(parsed.ptr - text->data()));
  return true;
}

std::int64_t seconds_of(char unit) {
  switch (unit) {
    case 's': return 1;
    case 'm': return 60;
    case 'h': return 3600;
    case 'd': return kDay;
    default: return 0;
  }
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const Status wrong(Code::kUnsupported,
                     "\"" + std::string(text) + "\" is no size; write 512M, 20G or 1T");
  std::uint64_t number = 0;
  if (!take_number(&text, &number)) return wrong;
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t unit = text.empty() ? kUnits.npos : kUnits.find(text[0]);
  const bool is_plain = text.empty();
  if (!is_plain && (unit == kUnits.npos || (text.size() > 1 && text.substr(1) != "iB"))) {
    return wrong;
  }
  const unsigned shift = is_plain ? 0 : 10 * (static_cast<unsigned>(unit) + 1);
  if (number == 0 || number > (UINT64_MAX >> 1 >> shift)) return wrong;
  return number << shift;
}

std::string size_text(std::uint64_t bytes) {
  const char* const units[] = {" bytes", " KiB", " MiB", " GiB", " TiB"};
  std::size_t unit = 0;
  for (; unit < 4 && bytes >= 1024 && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return std::to_string(bytes) + units[unit];
}

Result<std::int64_t> parse_duration(std::string_view text) {
  const Status wrong(Code::kUnsupported, "\"" + std::string(text) +
                                             "\" is no length of time; write 30s, 90m, 4h, 2d or "
                                             "1h30m");
  std::int64_t seconds = 0;
  while (!text.empty()) {
    std::uint64_t number = 0;
    if (!take_number(&text, &number) || text.empty()) return wrong;
    const std::int64_t unit = seconds_of(text[0]);
    if (unit == 0 || number > static_cast<std::uint64_t>(10 * kYear / unit)) return wrong;
    seconds += static_cast<std::int64_t>(number) * unit;
    if (seconds > 10 * kYear) return wrong;
    text.remove_prefix(1);
  }
  if (seconds == 0) return wrong;
  return seconds;
}

std::string duration_text(std::int64_t seconds) {
  if (seconds < 60) return std::to_string(seconds) + " s";
  if (seconds < 3600) {
    return std::to_string(seconds / 60) + " min " + std::to_string(seconds % 60) + " s";
  }
  if (seconds < kDay) {
    return std::to_string(seconds / 3600) + " h " + std::to_string(seconds % 3600 / 60) + " min";
  }
  return std::to_string(seconds / kDay) + " d " + std::to_string(seconds % kDay / 3600) + " h";
}

}  // namespace farcall::cli
