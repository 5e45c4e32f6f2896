// The authority's own files of lines: a first line that says what it is, then a record in each, of
// so many fields with one space between two of them.
//
//   std::array<std::string_view, 7> fields;
//   if (!split_fields(line, fields)) …                   // views into `line`
//   return parse_lines<JoinLine>(text, {"farcall-join 1", "list of tokens"}, parse_line);
//
// Owner: plain values.  Threads: any.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/status.h"

namespace farcall::security {

// False where the line has fewer or more of them. A field may be empty: whoever reads it judges.
inline bool split_fields(std::string_view line, std::span<std::string_view> fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t space = line.find(' ');
    const bool is_last = i + 1 == fields.size();
    if ((space == line.npos) != is_last) return false;
    fields[i] = line.substr(0, space);
    if (!is_last) line.remove_prefix(space + 1);
  }
  return true;
}

struct LinesFormat {
  std::string_view first;  // line
  const char* name;        // of the file, for errors
};

// parse_line: bool(std::string_view, T*).  Errors: kDenied with the line's number.
template <class T, class ParseLine>
Result<std::vector<T>> parse_lines(std::string_view text, const LinesFormat& format,
                                   ParseLine parse_line) {
  std::vector<T> records;
  for (std::size_t number = 1; !text.empty() || number == 1; ++number) {
    const std::size_t end = text.find('\n');
    T parsed;
    const bool good = end != text.npos && (number == 1 ? text.substr(0, end) == format.first
                                                       : parse_line(text.substr(0, end), &parsed));
    if (!good) {
      return Status(Code::kDenied,
                    "line " + std::to_string(number) + " of the " + format.name + " is none");
    }
    text.remove_prefix(end + 1);
    if (number > 1) records.push_back(std::move(parsed));
  }
  return records;
}

}  // namespace farcall::security
