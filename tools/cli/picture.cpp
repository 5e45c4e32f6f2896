#include "tools/cli/picture.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

constexpr int kWidth = 1120;
constexpr std::size_t kBarsMax = 12;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string rect(const char* style, double x, double y, double width, double height) {
  return "<rect class=\"" + std::string(style) + "\" x=\"" + number(x) + "\" y=\"" + number(y) +
         "\" width=\"" + number(width) + "\" height=\"" + number(height) + "\"/>";
}

std::string label(const char* style, double x, double y, std::string_view text) {
  return "<text class=\"" + std::string(style) + "\" x=\"" + number(x) + "\" y=\"" + number(y) +
         "\">" + escaped(text) + "</text>";
}

struct Swatch {
  const char* style;
  const char* text;
};

std::string legend(std::initializer_list<Swatch> swatches, double x, double y) {
  std::string out;
  for (const Swatch& swatch : swatches) {
    out += rect(swatch.style, x, y - 10, 12, 12) + label("small", x + 18, y, swatch.text);
    x += 44 + 6.6 * static_cast<double>(std::string_view(swatch.text).size());
  }
  return out;
}

// Horizontal bars of stacked parts, one row each.
struct Bar {
  std::string name;
  std::string value;
  std::vector<std::pair<const char*, double>> parts;

  double whole() const {
    double sum = 0;
    for (const auto& part : parts) sum += part.second;
    return sum;
  }
};

constexpr double kBarRow = 30;

std::string bars(const std::vector<Bar>& rows, double top, double names_width) {
  constexpr double kValueWidth = 210;
  double most = 0;
  for (const Bar& row : rows) most = std::max(most, row.whole());
  const double scale = most > 0 ? (kWidth - names_width - kValueWidth) / most : 0;
  std::string out;
  double y = top;
  for (const Bar& row : rows) {
    out += "<g role=\"listitem\"><title>" + escaped(row.name + ": " + row.value) + "</title>";
    out += label("name", names_width - 12, y + 19, row.name);
    double x = names_width;
    for (const auto& [style, value] : row.parts) {
      if (value * scale < 0.3) continue;
      out += rect(style, x, y + 4, std::max(1.0, value * scale - 1.5), kBarRow - 9);
      x += value * scale;
    }
    out += label("value", x + 8, y + 19, row.value) + "</g>\n";
    y += kBarRow;
  }
  return out;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string_view picture_style() {
  return R"(:root{--paper:#fff;--ink:#1c2330;--soft:#5b6475;--line:#e3e6ec;--lane:#f3f5f9;
--wait:#2f6fde;--post:#d98400;--local:#2a9d7f;--server:#a3a9ba;--sent:#7a4fd0;--received:#c2447a}
@media(prefers-color-scheme:dark){:root{--paper:#12161f;--ink:#e7eaf1;--soft:#a2abbd;--line:#2b3242;
--lane:#1a202c;--wait:#6ea8ff;--post:#f0b040;--local:#5fd0ae;--server:#6c7489;--sent:#b79bff;
--received:#f08ab5}}
svg{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
svg text{fill:var(--ink);font-size:13px}svg .small{font-size:12px;fill:var(--soft)}
svg .heading{font-size:16px;font-weight:600}svg .name{text-anchor:end}
svg .end{text-anchor:end;font-size:12px;fill:var(--soft)}
svg .tick{text-anchor:middle;font-size:12px;fill:var(--soft)}
svg .value{font-size:12px;fill:var(--soft)}svg .on{font-size:11px;fill:#12161f;text-anchor:middle}
svg .paper{fill:var(--paper)}svg .lane{fill:var(--lane);stroke:var(--line)}
svg .grid{stroke:var(--line)}
svg .wait{fill:var(--wait)}svg .post{fill:var(--post)}svg .local{fill:var(--local)}
svg .server{fill:var(--server)}svg .sent{fill:var(--sent)}svg .received{fill:var(--received)}
)";
}

std::string as_element(const Picture& picture) {
  const std::string width = std::to_string(picture.width), height = std::to_string(picture.height);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + width + " " + height +
         "\" width=\"" + width + "\" height=\"" + height + "\" role=\"img\" aria-label=\"" +
         escaped(picture.title + ". " + picture.description) + "\">\n<title>" +
         escaped(picture.title) + "</title>\n<desc>" + escaped(picture.description) + "</desc>\n" +
         picture.body + "</svg>\n";
}

Picture cost_by_call(const Explanation& found) {
  Picture picture;
  picture.title = "Cost by call at " + describe_link(found.asked);
  std::vector<Bar> rows;
  for (const Group& group : found.functions) {
    if (rows.size() == kBarsMax || group.cost_s() < 0.002 * found.functions.front().cost_s()) break;
    std::string value = with_time(group.cost_s());
    if (group.round_trips > 0) {
      value += ", " + std::to_string(group.round_trips) +
               (group.round_trips == 1 ? " round trip" : " round trips");
    }
    rows.push_back(
        {group.name,
         value,
         {{"wait", group.trips_s}, {"sent", group.moving_s}, {"server", group.server_s}}});
    picture.description += group.name + " " + value + ". ";
  }
  picture.width = kWidth;
  picture.height = 66 + static_cast<int>(kBarRow * static_cast<double>(rows.size()));
  picture.body = label("heading", 0, 18, picture.title) +
                 legend({{"wait", "round trips"},
                         {"sent", "moving data"},
                         {"server", "the GPU's work, and the server's"}},
                        0, 42) +
                 "<g role=\"list\">\n" + bars(rows, 56, 260) + "</g>\n";
  return picture;
}

Picture run_by_link(const Explanation& found) {
  Picture picture;
  picture.title = "The same run on other links";
  std::vector<Bar> rows;
  for (const Prediction& row : found.predictions) {
    char value[96];
    std::snprintf(value, sizeof value, "%s, %.1f %% of it the link", with_time(row.run_s).c_str(),
                  row.run_s > 0 ? 100 * row.cost_s / row.run_s : 0.0);
    rows.push_back({describe_link(row.link),
                    value,
                    {{"wait", row.cost_s}, {"server", std::max(0.0, row.run_s - row.cost_s)}}});
    picture.description += rows.back().name + ": " + value + ". ";
  }
  picture.width = kWidth;
  picture.height = 66 + static_cast<int>(kBarRow * static_cast<double>(rows.size()));
  picture.body = label("heading", 0, 18, picture.title) +
                 legend({{"wait", "the link: round trips and moving data"},
                         {"server", "the program and the GPU"}},
                        0, 42) +
                 "<g role=\"list\">\n" + bars(rows, 56, 260) + "</g>\n";
  return picture;
}

}  // namespace farcall::cli
