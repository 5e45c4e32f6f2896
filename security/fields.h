// A line of one of the authority's own files: so many fields, one space between two of them.
//
//   std::array<std::string_view, 7> fields;
//   if (!split_fields(line, fields)) …                   // views into `line`
//
// Owner: plain values.  Threads: any.
#pragma once
#include <span>
#include <string_view>

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

}  // namespace farcall::security
