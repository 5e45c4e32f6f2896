#include "tools/cli/explain.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "tools/cli/elf_symbols.h"

namespace farcall::cli {
namespace {

double seconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-9; }

std::string base_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// The time of a bare round trip: the shortest wait for one reply. No call can be quicker, and the
// longer ones have waited for work besides.
double round_trip_seen(const TraceData& trace) {
  std::int64_t shortest = INT64_MAX;
  for (const TracedEvent& event : trace.events) {
    if (event.round_trips != 1 || event.bytes_in + event.bytes_out > 4096) continue;
    // Opening the session is a handshake, not a call.
    if (trace.functions[event.function] == "cuInit") continue;
    shortest = std::min(shortest, event.wait_ns);
  }
  return shortest == INT64_MAX ? 0 : seconds(shortest);
}

struct Share {
  double trips_s = 0;
  double moving_s = 0;
  double server_s = 0;
};

// One call on `link`, by the model of explain.h.
Share share_of(const TracedEvent& event, double rtt_seen, const ModelledLink& link) {
  Share share;
  const double bytes = static_cast<double>(event.bytes_in + event.bytes_out);
  share.trips_s = event.round_trips * link.rtt_s;
  share.moving_s = bytes / link.bytes_per_s;
  const double left = std::max(0.0, seconds(event.wait_ns) - event.round_trips * rtt_seen);
  share.server_s = std::max(0.0, left - share.moving_s);
  return share;
}

// How much longer (or shorter) the call takes there than it did in the run.
double change_of(const TracedEvent& event, double rtt_seen, const ModelledLink& link) {
  const Share share = share_of(event, rtt_seen, link);
  const double there = share.trips_s + share.moving_s + share.server_s;
  if (event.round_trips > 0) return there - seconds(event.wait_ns);
  return std::max(0.0, there - seconds(event.duration_ns));
}

Prediction predict(const TraceData& trace, double run_s, double rtt_seen,
                   const ModelledLink& link) {
  std::vector<double> changes(trace.threads.size()), costs(trace.threads.size());
  double moving_s = 0;
  for (const TracedEvent& event : trace.events) {
    const Share share = share_of(event, rtt_seen, link);
    changes[event.thread] += change_of(event, rtt_seen, link);
    costs[event.thread] += share.trips_s + share.moving_s;
    moving_s += share.moving_s;
  }
  Prediction prediction{link, run_s, moving_s};
  if (changes.empty()) return prediction;
  prediction.run_s += *std::max_element(changes.begin(), changes.end());
  // The data of all threads shares one link.
  prediction.cost_s = std::max(moving_s, *std::max_element(costs.begin(), costs.end()));
  prediction.run_s = std::max(prediction.run_s, prediction.cost_s);
  return prediction;
}

void add(Group& group, const TracedEvent& event, const Share& share) {
  ++group.calls[static_cast<std::size_t>(event.kind)];
  group.round_trips += event.round_trips;
  group.bytes_out += event.bytes_out;
  group.bytes_in += event.bytes_in;
  group.duration_s += seconds(event.duration_ns);
  group.wait_s += seconds(event.wait_ns);
  group.trips_s += share.trips_s;
  group.moving_s += share.moving_s;
  group.server_s += share.server_s;
}

void sort_by_cost(std::vector<Group>& groups) {
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return std::make_pair(a.cost_s(), a.duration_s) > std::make_pair(b.cost_s(), b.duration_s);
  });
}

// The function a caller spent most on, for its `detail`.
using Spent = std::map<std::uint32_t, double>;
std::string most_of(const Spent& spent, const TraceData& trace) {
  auto most = std::max_element(spent.begin(), spent.end(),
                               [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == spent.end() ? std::string() : trace.functions[most->first];
}

void group_calls(const TraceData& trace, const DescribeCaller& describe, Explanation& found) {
  found.functions.resize(trace.functions.size());
  for (std::size_t i = 0; i < trace.functions.size(); ++i) {
    found.functions[i].name = trace.functions[i];
  }
  // Sites first: many of them are one caller.
  std::vector<std::size_t> caller_of_site;
  std::map<std::string, std::size_t> by_name;
  for (const auto& site : trace.sites) {
    auto [at, is_new] = by_name.emplace(describe(site), by_name.size());
    caller_of_site.push_back(at->second);
  }
  found.callers.resize(by_name.size());
  for (const auto& [name, index] : by_name) found.callers[index].name = name;
  std::vector<Spent> spent(by_name.size());
  for (const TracedEvent& event : trace.events) {
    const Share share = share_of(event, found.seen.rtt_s, found.asked);
    const std::size_t caller = caller_of_site[event.site];
    add(found.total, event, share);
    add(found.functions[event.function], event, share);
    add(found.callers[caller], event, share);
    spent[caller][event.function] += share.trips_s + share.moving_s + share.server_s +
                                     seconds(event.duration_ns) * 1e-6;  // where all else is nought
  }
  for (std::size_t i = 0; i < spent.size(); ++i) found.callers[i].detail = most_of(spent[i], trace);
  auto is_empty = [](const Group& group) { return group.all_calls() == 0; };
  std::erase_if(found.functions, is_empty);
  std::erase_if(found.callers, is_empty);
  sort_by_cost(found.functions);
  sort_by_cost(found.callers);
}

void total_threads(const TraceData& trace, Explanation& found) {
  for (std::uint32_t id : trace.threads) found.threads.push_back({id, 0, 0, 0});
  std::int64_t end_ns = 0;
  for (const TracedEvent& event : trace.events) {
    ThreadTotals& thread = found.threads[event.thread];
    ++thread.calls;
    thread.wait_s += seconds(event.wait_ns);
    thread.other_s += seconds(event.duration_ns - event.wait_ns);
    end_ns = std::max(end_ns, event.start_ns + event.duration_ns);
  }
  found.run_s = seconds(end_ns);
  std::stable_sort(found.threads.begin(), found.threads.end(),
                   [](const ThreadTotals& a, const ThreadTotals& b) {
                     return a.wait_s + a.other_s > b.wait_s + b.other_s;
                   });
}

// What stands between a program and its driver: the runtime, which may be linked statically, nvcc's
// stubs of kernels, and the C library, through which the runtime calls itself.
bool is_between(const std::string& function, const std::string& library) {
  if (library.starts_with("libcudart.") || library.starts_with("libc.so")) return true;
  return function.starts_with("__device_stub__") || function.starts_with("__cuda") ||
         function.starts_with("libcudart_static_") ||
         (function.size() > 4 && function.starts_with("cuda") && function[4] >= 'A' &&
          function[4] <= 'Z');
}

// Without its parameters: "ns::(anonymous namespace)::step" for "…::step(float*, int) const".
std::string without_parameters(const std::string& function) {
  std::size_t at = function.rfind(')');
  if (at == std::string::npos || at == 0) return function;
  for (int depth = 1; depth > 0 && at > 0;) {
    --at;
    depth += function[at] == ')' ? 1 : function[at] == '(' ? -1 : 0;
  }
  return at == 0 ? function : function.substr(0, at);
}

}  // namespace

Explanation explain(const TraceData& trace, const ModelledLink& asked,
                    const DescribeCaller& caller) {
  Explanation found;
  auto word = [&](const char* name) {
    return trace.report.is_object() ? trace.report.value(name, std::string()) : std::string();
  };
  found.server = word("server");
  found.device = word("device");
  found.link = word("link");
  found.is_whole = trace.is_whole;
  found.dropped = trace.dropped;
  if (trace.report.is_object() && trace.report.contains("failed_earlier") &&
      trace.report["failed_earlier"].is_object()) {
    for (const auto& [name, count] : trace.report["failed_earlier"].items()) {
      if (name != "total" && count.is_number_unsigned()) found.failed_earlier[name] = count;
    }
  }
  found.seen.rtt_s = round_trip_seen(trace);
  found.asked = asked;
  total_threads(trace, found);
  group_calls(trace, caller, found);
  const ModelledLink others[] = {
      {0.1e-3, 25e9 / 8}, {0.5e-3, 10e9 / 8}, {5e-3, 1e9 / 8}, {30e-3, 0.1e9 / 8}};
  found.predictions.push_back(predict(trace, found.run_s, found.seen.rtt_s, asked));
  for (const ModelledLink& link : others) {
    if (link.rtt_s == asked.rtt_s && link.bytes_per_s == asked.bytes_per_s) continue;
    found.predictions.push_back(predict(trace, found.run_s, found.seen.rtt_s, link));
  }
  found.advice = advise(found);
  return found;
}

DescribeCaller describe_by_symbols() {
  auto files = std::make_shared<std::unordered_map<std::string, ElfSymbols>>();
  return [files](const std::vector<SiteFrame>& frames) -> std::string {
    std::string runtime_only;
    for (const SiteFrame& frame : frames) {
      if (frame.module.empty()) return "generated code";
      const std::string library = base_name(frame.module);
      // The address behind the call: the call itself is before it.
      const std::string function =
          files->try_emplace(frame.module, frame.module).first->second.at(frame.offset - 1);
      if (is_between(function, library)) {
        if (!library.starts_with("libc.so")) runtime_only = library;
        continue;
      }
      return function.empty() ? library : without_parameters(function) + " in " + library;
    }
    return runtime_only.empty() ? "not known" : runtime_only;
  };
}

}  // namespace farcall::cli
