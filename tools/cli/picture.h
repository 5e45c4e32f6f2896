// Pictures of a traced run as SVG: a time line, and cost by call. Light and dark by the reader's
// setting, with a title and a description for those who do not see them.
//
//   std::string svg = time_line(trace) ;                  // <svg …>…</svg>, for a page or alone
//
// Owner: plain values.  Threads: one.
#pragma once
#include <string>
#include <string_view>

#include "tools/cli/explain.h"

namespace farcall::cli {

// Threads as lanes: what share of each moment they waited, posted or answered locally; below, data
// moved and round trips a second.
struct Picture {
  std::string body;  // elements without the <svg> around them
  int width = 0;
  int height = 0;
  std::string title;
  std::string description;
};
Picture time_line(const Explanation& found, const TraceData& trace);
Picture cost_by_call(const Explanation& found);
Picture run_by_link(const Explanation& found);

// The colours, as CSS; pictures need it once in their file.
std::string_view picture_style();
// The <svg> element. y: where it stands in a larger picture.
std::string as_element(const Picture& picture);

// Text as XML wants it.
std::string escaped(std::string_view text);

}  // namespace farcall::cli
