// The time line of a run: what each thread did at each moment, and what crossed the link.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tools/cli/picture.h"
#include "tools/cli/summary.h"

namespace farcall::cli {
namespace {

constexpr double kLeft = 132, kRight = 1104;  // the run, from its begin to its end
constexpr double kLaneHeight = 34, kLaneGap = 6, kPanelHeight = 64;
constexpr std::size_t kBins = 486;  // two pixels each
constexpr std::size_t kLanesMax = 10;
constexpr double kNameWidthMin = 40;

using Bins = std::vector<double>;

struct Lane {
  std::uint32_t thread = 0;  // into TraceData::threads
  Bins trips = Bins(kBins), server = Bins(kBins), post = Bins(kBins), local = Bins(kBins);
};

class TimeLine {
 public:
  TimeLine(const Explanation& found, const TraceData& trace)
      : found_(found), trace_(trace), run_s_(std::max(found.run_s, 1e-9)) {
    choose_lanes();
    for (const TracedEvent& event : trace.events) gather(event);
  }

  Picture draw() {
    Picture picture;
    picture.title = "Time line of the run";
    picture.width = 1120;
    double y = legend();
    const double top = y;
    std::string lanes;
    for (const Lane& lane : lanes_) {
      lanes += draw_lane(lane, y);
      y += kLaneHeight + kLaneGap;
    }
    if (trace_.threads.size() > lanes_.size()) {
      body_ += text("small", kLeft, y + 12,
                    "and " + std::to_string(trace_.threads.size() - lanes_.size()) +
                        " more threads that did less");
      y += 20;
    }
    body_ += lanes;
    y = draw_panel(y + 14, "round trips", trips_, nullptr, "wait", "/s");
    y = draw_panel(y + 14, "data", sent_, &received_, "sent", "");
    draw_axis(top, y);
    picture.body = body_;
    picture.height = static_cast<int>(y) + 34;
    picture.description = description();
    return picture;
  }

 private:
  static std::string fixed(double value) {
    char out[32];
    std::snprintf(out, sizeof out, "%.1f", value);
    return out;
  }
  static std::string text(const char* style, double x, double y, const std::string& words) {
    return "<text class=\"" + std::string(style) + "\" x=\"" + fixed(x) + "\" y=\"" + fixed(y) +
           "\">" + escaped(words) + "</text>";
  }
  double x_of(double seconds) const { return kLeft + (kRight - kLeft) * seconds / run_s_; }
  double bin_s() const { return run_s_ / static_cast<double>(kBins); }

  void choose_lanes() {
    // found.threads is by activity; what is drawn keeps that order.
    for (const ThreadTotals& totals : found_.threads) {
      if (lanes_.size() == kLanesMax) break;
      auto at = std::find(trace_.threads.begin(), trace_.threads.end(), totals.id);
      lanes_.emplace_back();
      lanes_.back().thread = static_cast<std::uint32_t>(at - trace_.threads.begin());
    }
  }

  // Spreads [begin, end) over the bins it touches, in seconds.
  void spread(Bins& bins, double begin_s, double end_s) const {
    auto first = static_cast<std::size_t>(std::clamp(begin_s / bin_s(), 0.0, kBins - 1.0));
    auto last = static_cast<std::size_t>(std::clamp(end_s / bin_s(), 0.0, kBins - 1.0));
    for (std::size_t bin = first; bin <= last; ++bin) {
      const double from = std::max(begin_s, static_cast<double>(bin) * bin_s());
      const double to = std::min(end_s, static_cast<double>(bin + 1) * bin_s());
      bins[bin] += std::max(0.0, to - from);
    }
  }

  void gather(const TracedEvent& event) {
    const double begin = static_cast<double>(event.start_ns) * 1e-9;
    const double end = begin + static_cast<double>(event.duration_ns) * 1e-9;
    const double waits_from = end - static_cast<double>(event.wait_ns) * 1e-9;
    // Where within the wait the link's part lies cannot be seen; it is drawn at the end.
    const double trips_from = std::max(waits_from, end - event.round_trips * found_.seen.rtt_s);
    const auto bin = static_cast<std::size_t>(std::clamp(end / bin_s(), 0.0, kBins - 1.0));
    trips_[bin] += event.round_trips;
    sent_[bin] += static_cast<double>(event.bytes_out);
    received_[bin] += static_cast<double>(event.bytes_in);
    for (Lane& lane : lanes_) {
      if (lane.thread != event.thread) continue;
      spread(event.kind == Kind::kLocal ? lane.local : lane.post, begin, waits_from);
      spread(lane.server, waits_from, trips_from);
      spread(lane.trips, trips_from, end);
    }
    // Worth a name of its own where the name fits.
    if (x_of(end) - x_of(waits_from) > kNameWidthMin) long_waits_.push_back(event);
  }

  double legend() {
    body_ += text("heading", 0, 18, "Time line");
    const std::pair<const char*, const char*> swatches[] = {
        {"wait", "round trips"},    {"server", "the GPU and server"}, {"post", "posting"},
        {"local", "answered here"}, {"lane", "the program itself"},   {"sent", "data sent"},
        {"received", "received"}};
    double x = kLeft;
    for (const auto& [style, words] : swatches) {
      body_ += "<rect class=\"" + std::string(style) + "\" x=\"" + fixed(x) +
               "\" y=\"8\" width=\"12\" height=\"12\"/>" + text("small", x + 17, 18, words);
      x += 36 + 6.7 * static_cast<double>(std::string_view(words).size());
    }
    return 34;
  }

  // One path of all bins of a kind, standing on what is below it.
  std::string area(const char* style, const Bins& bins, Bins& floor, double bottom, double scale) {
    std::string path;
    for (std::size_t bin = 0; bin < kBins; ++bin) {
      const double height = std::min(bins[bin] * scale, kLaneHeight);
      if (height < 0.05) continue;
      path += "M" + fixed(kLeft + 2 * static_cast<double>(bin)) + " " + fixed(bottom - floor[bin]) +
              "h2v-" + fixed(height) + "h-2z";
      floor[bin] += height;
    }
    return path.empty() ? path : "<path class=\"" + std::string(style) + "\" d=\"" + path + "\"/>";
  }

  std::string draw_lane(const Lane& lane, double y) {
    const std::uint32_t id = trace_.threads[lane.thread];
    const auto totals = std::find_if(found_.threads.begin(), found_.threads.end(),
                                     [&](const ThreadTotals& one) { return one.id == id; });
    const std::string name =
        (id == trace_.process ? "main thread" : "thread " + std::to_string(id));
    std::string out =
        "<g><title>" +
        escaped(name + ": waited " + with_time(totals->wait_s) + ", posted and " + "answered " +
                with_time(totals->other_s) + ", " + std::to_string(totals->calls) + " calls") +
        "</title>";
    out += text("end", kLeft - 10, y + kLaneHeight / 2 + 4, name);
    out += "<rect class=\"lane\" x=\"" + fixed(kLeft) + "\" y=\"" + fixed(y) + "\" width=\"" +
           fixed(kRight - kLeft) + "\" height=\"" + fixed(kLaneHeight) + "\"/>";
    Bins floor(kBins);
    const double scale = kLaneHeight / bin_s();
    out += area("wait", lane.trips, floor, y + kLaneHeight, scale);
    out += area("server", lane.server, floor, y + kLaneHeight, scale);
    out += area("post", lane.post, floor, y + kLaneHeight, scale);
    out += area("local", lane.local, floor, y + kLaneHeight, scale);
    for (const TracedEvent& event : long_waits_) {
      if (event.thread != lane.thread) continue;
      const double end = x_of(static_cast<double>(event.start_ns + event.duration_ns) * 1e-9);
      const double begin =
          end - (kRight - kLeft) * static_cast<double>(event.wait_ns) * 1e-9 / run_s_;
      const std::string& function = trace_.functions[event.function];
      if (end - begin < 6.6 * static_cast<double>(function.size())) continue;
      out += text("on", (begin + end) / 2, y + kLaneHeight / 2 + 4, function);
    }
    return out + "</g>\n";
  }

  // Rates a second as bars; of a second series, downwards.
  double draw_panel(double y, const std::string& name, const Bins& up, const Bins* down,
                    const char* style, const char* unit) {
    const double up_most = *std::max_element(up.begin(), up.end());
    const double down_most = down == nullptr ? 0 : *std::max_element(down->begin(), down->end());
    const double most = std::max({up_most, down_most, 1e-9});
    const double half = down == nullptr ? kPanelHeight : kPanelHeight / 2;
    std::string path, mirrored;
    for (std::size_t bin = 0; bin < kBins; ++bin) {
      const std::string x = fixed(kLeft + 2 * static_cast<double>(bin));
      if (up[bin] > 0) {
        path += "M" + x + " " + fixed(y + half) + "h2v-" +
                fixed(std::max(0.6, half * up[bin] / most)) + "h-2z";
      }
      if (down != nullptr && (*down)[bin] > 0) {
        mirrored += "M" + x + " " + fixed(y + half) + "h2v" +
                    fixed(std::max(0.6, half * (*down)[bin] / most)) + "h-2z";
      }
    }
    body_ += "<path class=\"" + std::string(style) + "\" d=\"" + path + "\"/>";
    if (down != nullptr) body_ += "<path class=\"received\" d=\"" + mirrored + "\"/>";
    body_ += "<line class=\"grid\" x1=\"" + fixed(kLeft) + "\" x2=\"" + fixed(kRight) + "\" y1=\"" +
             fixed(y + half) + "\" y2=\"" + fixed(y + half) + "\"/>";
    char rate[64];
    std::snprintf(rate, sizeof rate, "%.0f%s", most / bin_s(), unit);
    body_ += text("end", kLeft - 10, y + kPanelHeight / 2, name);
    body_ +=
        text("end", kLeft - 10, y + kPanelHeight / 2 + 15,
             "up to " + (down == nullptr ? std::string(rate) : with_unit(most / bin_s()) + "/s"));
    return y + kPanelHeight;
  }

  static std::string tick(double at) {
    char out[32];
    const bool is_short = at < 1;
    std::snprintf(out, sizeof out, is_short ? "%.4g ms" : "%.4g s", is_short ? at * 1e3 : at);
    return at == 0 ? "0" : out;
  }

  void draw_axis(double top, double bottom) {
    const double rough = run_s_ / 7;
    const double magnitude = std::pow(10.0, std::floor(std::log10(rough)));
    double step = 10 * magnitude;
    for (double factor : {1.0, 2.0, 5.0}) {
      if (factor * magnitude >= rough) {
        step = factor * magnitude;
        break;
      }
    }
    std::string grid;
    for (double at = 0; at <= run_s_ * 1.0001; at += step) {
      const std::string x = fixed(x_of(at));
      grid += "<line class=\"grid\" x1=\"" + x + "\" x2=\"" + x + "\" y1=\"" + fixed(top - 4) +
              "\" y2=\"" + fixed(bottom + 8) + "\"/>";
      grid += text("tick", x_of(at), bottom + 24, tick(at));
    }
    body_ = grid + body_;
  }

  std::string description() const {
    if (found_.threads.empty()) return {};
    const ThreadTotals& busiest = found_.threads.front();
    return std::to_string(found_.threads.size()) + " threads over " + with_time(found_.run_s) +
           "; the busiest waited " + with_time(busiest.wait_s) + " and spent " +
           with_time(busiest.other_s) + " in other calls. " +
           std::to_string(found_.total.round_trips) + " round trips, " +
           with_unit(static_cast<double>(found_.total.bytes_out)) + " sent, " +
           with_unit(static_cast<double>(found_.total.bytes_in)) + " received.";
  }

  const Explanation& found_;
  const TraceData& trace_;
  const double run_s_;
  std::vector<Lane> lanes_;
  Bins trips_ = Bins(kBins), sent_ = Bins(kBins), received_ = Bins(kBins);
  std::vector<TracedEvent> long_waits_;
  std::string body_;
};

}  // namespace

Picture time_line(const Explanation& found, const TraceData& trace) {
  return TimeLine(found, trace).draw();
}

}  // namespace farcall::cli
