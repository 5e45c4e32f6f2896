// farcall explain: reads a trace and says what its run spent on the link.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tools/cli/commands.h"
#include "tools/cli/explain.h"

namespace farcall::cli {
namespace {

struct Unit {
  const char* name;
  double factor;
};
constexpr Unit kTimes[] = {{"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}};
// Bits as network people count, bytes as programmers do.
constexpr Unit kSpeeds[] = {
    {"bit", 1.0 / 8}, {"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8}, {"kb", 1e3},
    {"mb", 1e6},      {"gb", 1e9},       {"kib", 1024},     {"mib", 1 << 20},  {"gib", 1 << 30}};

// A positive number and its unit, a space and "/s" allowed.
template <std::size_t kCount>
bool parse(const std::string& text, const Unit (&units)[kCount], double* value) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !std::isfinite(number) || number <= 0) return false;
  std::string unit(end);
  while (unit.starts_with(' ')) unit.erase(0, 1);
  if (unit.ends_with("/s") && unit.size() > 2) unit.resize(unit.size() - 2);
  for (char& c : unit) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const Unit& known : units) {
    if (unit != known.name) continue;
    *value = number * known.factor;
    return true;
  }
  return false;
}

std::string base_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

int write(const std::string& path, const std::string& text) {
  if (path.empty()) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file ? 0 : fail("cannot write " + path);
}

}  // namespace

int explain_trace(const ExplainOptions& options) {
  ModelledLink asked;
  if (!parse(options.rtt, kTimes, &asked.rtt_s)) {
    fail("--rtt " + options.rtt + " is no time; write for instance 0.5ms or 200us");
    return kExitUsage;
  }
  if (!parse(options.bandwidth, kSpeeds, &asked.bytes_per_s)) {
    fail("--bandwidth " + options.bandwidth +
         " is no bandwidth; write for instance 10Gbit or 1.2GB/s");
    return kExitUsage;
  }
  auto trace = read_trace(options.trace_file);
  if (!trace.ok()) return fail(trace.status());
  if (trace.value().events.empty()) {
    return fail(options.trace_file + " holds no calls: the program made none that count");
  }
  Explanation found = explain(trace.value(), asked, describe_by_symbols());
  const std::string& program = trace.value().program;
  found.program = base_name(program.empty() ? options.trace_file : program);
  if (options.form == "json") return write(options.out, as_json(found));
  if (options.form == "svg") return write(options.out, as_svg(found, trace.value()));
  if (options.form == "html") return write(options.out, as_html(found, trace.value()));
  return write(options.out, as_text(found));
}

}  // namespace farcall::cli
