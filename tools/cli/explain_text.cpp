// An explanation for a terminal, and as JSON.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/cli/explain.h"
#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

constexpr std::size_t kRowsMax = 15;
constexpr std::size_t kCallersMax = 8;
constexpr std::size_t kColumnsMax = 100;

// Columns of text by their width in characters, not bytes: units hold a "µ".
std::string padded(const std::string& text, int width) {
  const auto characters = static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  const auto spaces = static_cast<std::size_t>(std::max(0, std::abs(width) - characters));
  return width < 0 ? text + std::string(spaces, ' ') : std::string(spaces, ' ') + text;
}

std::string shortened(const std::string& text, std::size_t columns) {
  return text.size() <= columns ? text : text.substr(0, columns - 1) + "~";
}

std::string count(std::uint64_t value) { return value == 0 ? "-" : std::to_string(value); }
std::string time_or_dash(double seconds) { return seconds <= 0 ? "-" : with_time(seconds); }
std::string bytes_or_dash(std::uint64_t bytes) {
  return bytes == 0 ? "-" : with_unit(static_cast<double>(bytes));
}

void heading(std::string& out, const std::string& text) { out += "\n" + text + "\n"; }

void function_rows(std::string& out, const Explanation& found) {
  heading(out,
          "Calls by function; the last column is what they wait at " + describe_link(found.asked));
  out += "  " + padded("FUNCTION", -30) + padded("LOCAL", 8) + padded("QUEUED", 9) +
         padded("SYNC", 8) + padded("TRIPS", 7) + padded("SENT", 11) + padded("RECEIVED", 11) +
         padded("WAIT", 10) + padded("THERE", 10) + "\n";
  std::size_t shown = 0;
  for (const Group& row : found.functions) {
    if (++shown > kRowsMax) break;
    out += "  " + padded(shortened(row.name, 29), -30) +
           padded(count(row.calls[0] + row.calls[3]), 8) + padded(count(row.calls[1]), 9) +
           padded(count(row.calls[2]), 8) + padded(count(row.round_trips), 7) +
           padded(bytes_or_dash(row.bytes_out), 11) + padded(bytes_or_dash(row.bytes_in), 11) +
           padded(time_or_dash(row.wait_s), 10) + padded(time_or_dash(row.cost_s()), 10) + "\n";
  }
  if (found.functions.size() > kRowsMax) {
    out += "  and " + std::to_string(found.functions.size() - kRowsMax) +
           " more functions that cost less\n";
  }
}

void caller_rows(std::string& out, const Explanation& found) {
  heading(out, "Who calls");
  out += "  " + padded("CALLER", -44) + padded("CALLS", 9) + padded("TRIPS", 8) +
         padded("WAIT", 10) + padded("THERE", 10) + "  MOSTLY BY\n";
  std::size_t shown = 0;
  for (const Group& row : found.callers) {
    if (++shown > kCallersMax) break;
    out += "  " + padded(shortened(row.name, 43), -44) + padded(count(row.all_calls()), 9) +
           padded(count(row.round_trips), 8) + padded(time_or_dash(row.wait_s), 10) +
           padded(time_or_dash(row.cost_s()), 10) + "  " + row.detail + "\n";
  }
}

void prediction_rows(std::string& out, const Explanation& found) {
  heading(out, "The same run on other links (a lower bound: the GPU's time is taken as it was)");
  out += "  " + padded("ROUND TRIP AND BANDWIDTH", -34) + padded("RUN", 10) +
         padded("OF IT THE LINK", 18) + "\n";
  for (const Prediction& row : found.predictions) {
    char share[32];
    std::snprintf(share, sizeof share, " %5.1f %%",
                  row.run_s > 0 ? 100 * row.cost_s / row.run_s : 0.0);
    out += "  " + padded(describe_link(row.link), -34) + padded(with_time(row.run_s), 10) +
           padded(with_time(row.cost_s), 10) + share + "\n";
  }
}

void wrap(std::string& out, const std::string& text) {
  std::string line = "  - ";
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find(' ', at), text.size());
    if (line.size() + end - at > kColumnsMax) {
      line.pop_back();
      out += line + "\n";
      line = "    ";
    }
    line += text.substr(at, end - at) + " ";
    at = end + 1;
  }
  line.pop_back();
  out += line + "\n";
}

nlohmann::ordered_json json_of(const Group& group) {
  return {{"name", group.name},
          {"local", group.calls[0]},
          {"queued", group.calls[1]},
          {"waited_for", group.calls[2]},
          {"cached", group.calls[3]},
          {"round_trips", group.round_trips},
          {"bytes_out", group.bytes_out},
          {"bytes_in", group.bytes_in},
          {"seconds", group.duration_s},
          {"seconds_waiting", group.wait_s},
          {"predicted",
           {{"round_trips_s", group.trips_s},
            {"moving_s", group.moving_s},
            {"server_s", group.server_s}}}};
}

nlohmann::ordered_json json_of(const Prediction& row) {
  nlohmann::ordered_json json = {{"rtt_s", row.link.rtt_s}};
  json["bytes_per_s"] = std::isinf(row.link.bytes_per_s)
                            ? nlohmann::ordered_json(nullptr)
                            : nlohmann::ordered_json(row.link.bytes_per_s);
  json["run_s"] = row.run_s;
  json["link_s"] = row.cost_s;
  return json;
}

}  // namespace

std::string with_time(double seconds) {
  char text[40];
  if (seconds >= 100) {
    std::snprintf(text, sizeof text, "%.0f s", seconds);
  } else if (seconds >= 1) {
    std::snprintf(text, sizeof text, "%.2f s", seconds);
  } else if (seconds >= 1e-3) {
    std::snprintf(text, sizeof text, seconds >= 0.1 ? "%.0f ms" : "%.1f ms", seconds * 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.1f µs", seconds * 1e6);
  }
  return text;
}

std::string describe_link(const ModelledLink& link) {
  char rtt[32];
  const bool is_short = link.rtt_s < 0.1e-3;
  std::snprintf(rtt, sizeof rtt, is_short ? "%.3g µs" : "%.3g ms",
                link.rtt_s * (is_short ? 1e6 : 1e3));
  if (std::isinf(link.bytes_per_s)) return rtt;
  char text[48];
  const double gbit = link.bytes_per_s * 8e-9;
  std::snprintf(text, sizeof text, gbit >= 1 ? " and %.3g Gbit/s" : " and %.3g Mbit/s",
                gbit >= 1 ? gbit : gbit * 1e3);
  return std::string(rtt) + text;
}

std::string as_text(const Explanation& found) {
  std::string out = found.program + ": " + with_time(found.run_s) + ", " +
                    std::to_string(found.total.all_calls()) + " calls from " +
                    std::to_string(found.threads.size()) +
                    (found.threads.size() == 1 ? " thread\n" : " threads\n");
  if (!found.device.empty()) out += "  on " + found.device + " of " + found.server + "\n";
  if (!found.link.empty()) out += "  over " + found.link + "\n";
  out += "  a round trip took " + with_time(found.seen.rtt_s) + " at best; " +
         std::to_string(found.total.round_trips) + " of them, " +
         with_unit(static_cast<double>(found.total.bytes_out)) + " of data sent, " +
         with_unit(static_cast<double>(found.total.bytes_in)) + " received\n";
  if (!found.threads.empty()) {
    const ThreadTotals& busiest = found.threads.front();
    const double rest = std::max(0.0, found.run_s - busiest.wait_s - busiest.other_s);
    out += "  the busiest thread waited " + with_time(busiest.wait_s) + ", spent " +
           with_time(busiest.other_s) + " in calls without waiting, and " + with_time(rest) +
           " elsewhere\n";
  }
  function_rows(out, found);
  caller_rows(out, found);
  prediction_rows(out, found);
  heading(out, "Advice");
  for (const std::string& sentence : found.advice) wrap(out, sentence);
  return out;
}

std::string as_json(const Explanation& found) {
  nlohmann::ordered_json json = {{"program", found.program},      {"server", found.server},
                                 {"device", found.device},        {"link", found.link},
                                 {"run_s", found.run_s},          {"is_whole", found.is_whole},
                                 {"dropped", found.dropped},      {"threads", found.threads.size()},
                                 {"seen_rtt_s", found.seen.rtt_s}};
  json["total"] = json_of(found.total);
  json["total"].erase("name");
  for (const char* list : {"functions", "callers", "predictions", "advice"}) {
    json[list] = nlohmann::ordered_json::array();
  }
  for (const Group& group : found.functions) json["functions"].push_back(json_of(group));
  for (const Group& group : found.callers) {
    json["callers"].push_back(json_of(group));
    json["callers"].back()["mostly_by"] = group.detail;
  }
  for (const Prediction& row : found.predictions) json["predictions"].push_back(json_of(row));
  for (const std::string& sentence : found.advice) json["advice"].push_back(sentence);
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace farcall::cli
