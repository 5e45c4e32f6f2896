// Explain: what a traced run spent on its link, where in the program that came from, and what it
// would be on another link.
//
//   Explanation found = explain(trace, {.rtt_s = 0.5e-3, .bytes_per_s = 1.25e9}, describe_caller);
//   std::fputs(as_text(found).c_str(), stdout);
//
// The model, the same for every figure: a call that waits takes its round trips and what is left,
// which is the server's work and the moving of data. On another link the round trips take that
// link's time, and what is left takes at least as long as the call's data needs there. A posted
// call takes at least as long as its data needs. Threads wait side by side, so of several the one
// that would wait longest counts. Owner: plain values.  Threads: one.
#pragma once
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tools/cli/trace_reader.h"

namespace farcall::cli {

// A link as far as the model of a run knows one.
struct ModelledLink {
  double rtt_s = 0;
  double bytes_per_s = std::numeric_limits<double>::infinity();
};

// What calls have in common: a function, or a caller.
struct Group {
  std::string name;
  std::string detail;  // of a caller: the function it called most
  std::array<std::uint64_t, kKinds> calls{};
  std::uint64_t round_trips = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  double duration_s = 0;
  double wait_s = 0;
  // On the link asked for: time of round trips, of moving data, and of the server.
  double trips_s = 0;
  double moving_s = 0;
  double server_s = 0;

  std::uint64_t all_calls() const { return calls[0] + calls[1] + calls[2] + calls[3]; }
  double cost_s() const { return trips_s + moving_s + server_s; }
};

struct Prediction {
  ModelledLink link;
  double run_s = 0;   // the whole run
  double cost_s = 0;  // of it round trips and moving data: what a local GPU would not cost
};

struct ThreadTotals {
  std::uint32_t id = 0;
  double wait_s = 0;
  double other_s = 0;  // inside calls without waiting: posting, local answers
  std::uint64_t calls = 0;
};

struct Explanation {
  std::string program;
  std::string server, device, link;
  double run_s = 0;
  bool is_whole = true;
  std::uint64_t dropped = 0;
  // Functions whose posted calls failed, and how often: another call reported it.
  std::map<std::string, std::uint64_t> failed_earlier;
  ModelledLink seen;   // round trip of this run, from its quickest waits
  ModelledLink asked;  // what the figures below are for
  Group total;
  std::vector<Group> functions;         // by cost
  std::vector<Group> callers;           // by cost; name: "train_step in ./train"
  std::vector<ThreadTotals> threads;    // busiest first
  std::vector<Prediction> predictions;  // the link asked for first, then others
  std::vector<std::string> advice;
};

// Who made a call from this site: "train_step in train_mlp", "libcublas.so.13".
using DescribeCaller = std::function<std::string(const std::vector<SiteFrame>&)>;
Explanation explain(const TraceData& trace, const ModelledLink& asked,
                    const DescribeCaller& caller);
// Looks into the files the frames name; steps over the CUDA runtime.
DescribeCaller describe_by_symbols();

// What to change in the program, most useful first; at least one sentence.
std::vector<std::string> advise(const Explanation& found);

std::string as_text(const Explanation& found);
std::string as_json(const Explanation& found);
// Pictures: time line of the run, cost by call. A whole file each.
std::string as_svg(const Explanation& found, const TraceData& trace);
std::string as_html(const Explanation& found, const TraceData& trace);

// "1.20 s", "310 ms", "11.3 µs"
std::string with_time(double seconds);
// "0.5 ms and 10 Gbit/s"
std::string describe_link(const ModelledLink& link);

}  // namespace farcall::cli
