// An explanation as a page of its own (HTML) and as one picture (SVG). Nothing is loaded from
// anywhere: the file can be mailed.
#include <cstdio>

#include "tools/cli/explain.h"
#include "tools/cli/picture.h"
#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

constexpr const char* kPageStyle = R"(
body{margin:0 auto;max-width:1168px;padding:24px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 8px}
p.about{color:var(--soft);margin:0 0 20px}
svg{max-width:100%;height:auto;display:block;margin:20px 0}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin:0 0 8px;padding:0;list-style:none}
.figures li{background:var(--lane);border-radius:8px;padding:10px 16px;min-width:120px}
.figures b{display:block;font-size:20px}.figures span{color:var(--soft);font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,td.left,th.left{text-align:left}
th{color:var(--soft);font-weight:600;font-size:13px}
ul.advice{padding-left:20px}ul.advice li{margin:6px 0;max-width:80ch}
)";

std::string cell(const std::string& text, const char* style = nullptr) {
  return (style == nullptr ? "<td>" : "<td class=\"" + std::string(style) + "\">") + escaped(text) +
         "</td>";
}

std::string count(std::uint64_t value) { return value == 0 ? "–" : std::to_string(value); }
std::string time_of(double seconds) { return seconds <= 0 ? "–" : with_time(seconds); }
std::string bytes_of(std::uint64_t bytes) {
  return bytes == 0 ? "–" : with_unit(static_cast<double>(bytes));
}

std::string table(const char* first, const std::vector<Group>& groups, std::size_t rows_max,
                  bool with_detail) {
  std::string out = "<div class=\"wide\"><table><thead><tr><th scope=\"col\">" +
                    std::string(first) +
                    "</th><th scope=\"col\">local</th><th scope=\"col\">queued</th>"
                    "<th scope=\"col\">waited for</th><th scope=\"col\">round trips</th>"
                    "<th scope=\"col\">sent</th><th scope=\"col\">received</th>"
                    "<th scope=\"col\">waited</th><th scope=\"col\">there</th>";
  if (with_detail) out += "<th scope=\"col\" class=\"left\">mostly by</th>";
  out += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < std::min(rows_max, groups.size()); ++i) {
    const Group& group = groups[i];
    out += "<tr>" + cell(group.name) + cell(count(group.calls[0] + group.calls[3])) +
           cell(count(group.calls[1])) + cell(count(group.calls[2])) +
           cell(count(group.round_trips)) + cell(bytes_of(group.bytes_out)) +
           cell(bytes_of(group.bytes_in)) + cell(time_of(group.wait_s)) +
           cell(time_of(group.cost_s())) + (with_detail ? cell(group.detail, "left") : "") +
           "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string figure(const std::string& value, const char* what) {
  return "<li><b>" + escaped(value) + "</b><span>" + what + "</span></li>";
}

std::string figures(const Explanation& found) {
  return "<ul class=\"figures\">" + figure(with_time(found.run_s), "the run") +
         figure(std::to_string(found.total.all_calls()), "calls") +
         figure(std::to_string(found.total.round_trips), "round trips") +
         figure(with_time(found.seen.rtt_s), "a round trip at best") +
         figure(with_unit(static_cast<double>(found.total.bytes_out)), "data sent") +
         figure(with_unit(static_cast<double>(found.total.bytes_in)), "data received") + "</ul>\n";
}

}  // namespace

std::string as_svg(const Explanation& found, const TraceData& trace) {
  constexpr int kMargin = 24, kGap = 28;
  Picture whole;
  whole.title = found.program + ": what the link cost";
  int y = kMargin;
  for (const Picture& part : {time_line(found, trace), cost_by_call(found), run_by_link(found)}) {
    whole.body += "<g transform=\"translate(" + std::to_string(kMargin) + "," + std::to_string(y) +
                  ")\">" + part.body + "</g>\n";
    whole.description += part.title + ": " + part.description + " ";
    whole.width = std::max(whole.width, part.width + 2 * kMargin);
    y += part.height + kGap;
  }
  whole.height = y - kGap + kMargin;
  whole.body = "<style>" + std::string(picture_style()) +
               "</style><rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n" + whole.body;
  return as_element(whole);
}

std::string as_html(const Explanation& found, const TraceData& trace) {
  std::string about = found.device.empty() ? "" : found.device + " of " + found.server + ", over ";
  about += found.link.empty() ? "a session whose end the trace does not hold" : found.link;
  std::string out =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
      escaped(found.program) + ": what the link cost</title>\n<style>" +
      std::string(picture_style()) + kPageStyle + "</style></head>\n<body><main>\n";
  out += "<h1>" + escaped(found.program) + "</h1><p class=\"about\">" + escaped(about) + "</p>\n";
  out += figures(found) + "<h2>What to do</h2><ul class=\"advice\">";
  for (const std::string& sentence : found.advice) out += "<li>" + escaped(sentence) + "</li>";
  out += "</ul>\n" + as_element(time_line(found, trace)) + as_element(cost_by_call(found)) +
         as_element(run_by_link(found));
  out += "<h2>Who calls</h2><p class=\"about\">The column “there” is what the calls wait at " +
         escaped(describe_link(found.asked)) + ".</p>" + table("caller", found.callers, 20, true);
  out += "<h2>Calls by function</h2>" + table("function", found.functions, 60, false);
  return out + "</main></body></html>\n";
}

}  // namespace farcall::cli
