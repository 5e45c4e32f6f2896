// farcall explain: reading traces that may be cut short or wrong, and the arithmetic of its advice.
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>

#include "tools/cli/elf_symbols.h"
#include "tools/cli/explain.h"
#include "tools/cli/picture.h"

using namespace farcall;
using namespace farcall::cli;

namespace {

template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

struct TraceText {
  std::string bytes;

  TraceText() {
    shim::TraceHeader header{};
    std::memcpy(header.magic, shim::kTraceMagic, sizeof header.magic);
    header.process = 7;
    header.event_bytes = sizeof(shim::TraceEvent);
    bytes = bytes_of(header);
  }
  void chunk(shim::TraceChunkKind kind, std::string body) {
    bytes += bytes_of(shim::TraceChunk{kind, static_cast<std::uint32_t>(body.size())});
    bytes += body + std::string((8 - body.size() % 8) % 8, '\0');
  }
  void name(std::uint32_t index, const std::string& text) {
    chunk(shim::TraceChunkKind::kNames, bytes_of(shim::TraceName{index}) + text);
  }
  void event(std::uint32_t thread, shim::TraceEvent event) {
    chunk(shim::TraceChunkKind::kEvents, bytes_of(shim::TraceEvents{thread, 0}) + bytes_of(event));
  }
};

shim::TraceEvent waits(std::int64_t start_ns, std::uint64_t wait_ns) {
  shim::TraceEvent event{};
  event.start_ns = start_ns;
  event.duration_ns = shim::TraceNumber(wait_ns);
  event.wait_ns = shim::TraceNumber(wait_ns);
  event.kind = 2;
  event.round_trips = 1;
  return event;
}

// One thread: 100 synchronizes of 10 µs, then one that took a second more, and 125 MB posted.
TraceText a_run() {
  TraceText text;
  text.event(1, waits(1000, 10'000));  // before its name
  text.name(0, "cuStreamSynchronize");
  text.name(3, "cuMemcpyHtoD_v2");
  shim::TraceModule module{0, 0};
  text.chunk(shim::TraceChunkKind::kModules, bytes_of(module) + "/opt/app");
  for (int i = 1; i < 100; ++i) text.event(1, waits(1000 + i * 20'000, 10'000));
  text.event(1, waits(3'000'000, 1'000'010'000));
  shim::TraceEvent copy{};
  copy.start_ns = 2'500'000;
  copy.duration_ns = shim::TraceNumber(1000);
  copy.bytes_out = shim::TraceNumber(125'000'000);
  copy.function = 3;
  copy.kind = 1;
  text.event(1, copy);
  text.chunk(shim::TraceChunkKind::kReport, "{\"server\": \"gpu1:7717\", \"link\": \"tcp\"}");
  return text;
}

std::string nobody(const std::vector<SiteFrame>&) { return "not known"; }

}  // namespace

TEST_CASE("a trace is read whole, whatever the order of its chunks") {
  auto trace = parse_trace(a_run().bytes);
  REQUIRE(trace.ok());
  CHECK(trace.value().is_whole);
  CHECK(trace.value().process == 7);
  CHECK(trace.value().program == "/opt/app");
  REQUIRE(trace.value().events.size() == 102);
  const TracedEvent& first = trace.value().events[0];
  CHECK(first.start_ns == 0);
  CHECK(trace.value().functions[first.function] == "cuStreamSynchronize");
}

TEST_CASE(
    "a trace cut short anywhere, or with any byte changed, is read as far as it makes sense") {
  const std::string whole = a_run().bytes;
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 3) {
    auto trace = parse_trace(std::string_view(whole).substr(0, bytes));
    CHECK(trace.ok() == (bytes >= sizeof(shim::TraceHeader)));
    // Up to 7 of the last bytes are padding.
    if (trace.ok() && bytes + 8 < whole.size()) CHECK_FALSE(trace.value().is_whole);
  }
  for (std::size_t at = 0; at < std::min<std::size_t>(whole.size(), 1200); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(0xff);
    auto trace = parse_trace(changed);
    if (!trace.ok() || trace.value().events.empty()) continue;
    Explanation found = explain(trace.value(), {1e-3, 1e9}, nobody);
    CHECK_FALSE(as_html(found, trace.value()).empty());
  }
  CHECK(parse_trace("something else entirely").status().code() == Code::kMalformed);
}

TEST_CASE("round trips cost what the other link's cost, and data what its bandwidth says") {
  auto trace = parse_trace(a_run().bytes);
  REQUIRE(trace.ok());
  // 101 round trips of 1 ms; 1 Gbit/s: 125 MB take a second.
  Explanation found = explain(trace.value(), {1e-3, 125e6}, nobody);
  CHECK(found.seen.rtt_s == doctest::Approx(10e-6));
  CHECK(found.total.round_trips == 101);
  CHECK(found.total.trips_s == doctest::Approx(0.101));
  CHECK(found.total.moving_s == doctest::Approx(1.0));
  CHECK(found.functions[0].name == "cuStreamSynchronize");
  CHECK(found.functions[0].server_s == doctest::Approx(1.0));  // not the link's doing
  const Prediction& there = found.predictions.front();
  CHECK(there.cost_s == doctest::Approx(1.101));
  CHECK(there.run_s == doctest::Approx(found.run_s + 101 * (1e-3 - 10e-6) + 1.0).epsilon(0.001));
  CHECK(found.advice.front().starts_with("cuStreamSynchronize: 101 round trips"));
  CHECK(found.advice.front().find("Wait less often") != std::string::npos);
  CHECK(as_text(found).find("cuStreamSynchronize") != std::string::npos);
}

TEST_CASE("failures that other calls reported are in the advice") {
  TraceText text = a_run();
  text.chunk(shim::TraceChunkKind::kReport,
             R"({"failed_earlier": {"total": 3, "cuLaunchKernel": 2, "cuMemsetD8_v2": 1}})");
  auto trace = parse_trace(text.bytes);
  REQUIRE(trace.ok());
  Explanation found = explain(trace.value(), {10e-6, 100e9}, nobody);
  CHECK(found.advice.back().starts_with("3 calls failed after being posted"));
  CHECK(found.advice.back().find("cuLaunchKernel (2), cuMemsetD8_v2 (1)") != std::string::npos);
}

TEST_CASE("a run that the link does not slow down is told so") {
  auto trace = parse_trace(a_run().bytes);
  REQUIRE(trace.ok());
  Explanation found = explain(trace.value(), {10e-6, 100e9}, nobody);
  CHECK(found.advice.size() == 1);
  CHECK(found.advice[0].starts_with("Nothing to do"));
}

TEST_CASE("pictures carry their words as text, and no markup of the program's") {
  auto trace = parse_trace(a_run().bytes);
  REQUIRE(trace.ok());
  Explanation found =
      explain(trace.value(), {1e-3, 125e6}, [](const auto&) { return "vector<int>::push & co"; });
  found.program = "<script>alert(1)</script>";
  const std::string page = as_html(found, trace.value());
  CHECK(page.find("<script>") == std::string::npos);
  CHECK(page.find("vector&lt;int&gt;::push &amp; co") != std::string::npos);
  CHECK(page.find("aria-label") != std::string::npos);
  CHECK(page.find("http") == page.find("http://www.w3.org/2000/svg"));  // loads nothing
  CHECK(as_svg(found, trace.value()).starts_with("<svg "));
  auto json = nlohmann::json::parse(as_json(found), nullptr, false);
  REQUIRE(json.is_object());
  CHECK(json["total"]["round_trips"] == 101);
  CHECK(json["functions"][0]["name"] == "cuStreamSynchronize");
}

TEST_CASE("this program's own functions are found by their offsets") {
  std::ifstream self("/proc/self/exe", std::ios::binary);
  std::string file((std::istreambuf_iterator<char>(self)), {});
  CHECK(ElfSymbols::of_bytes(file).at(0) == "");
  // Cut short or changed anywhere, it is only less than known.
  for (std::size_t bytes : {std::size_t{0}, std::size_t{64}, file.size() / 2, file.size() - 1}) {
    ElfSymbols cut = ElfSymbols::of_bytes(std::string_view(file).substr(0, bytes));
    CHECK(cut.at(1) == "");
  }
  CHECK(ElfSymbols("/no/such/file").at(100) == "");
}
