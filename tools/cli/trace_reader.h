// Reads a trace file (client_shim/trace_format.h) into memory.
//
//   Result<TraceData> trace = read_trace("run.trace");
//
// Owner: plain values.  Threads: one.  The file may be cut short anywhere, because its program was
// killed: what is whole is read. It may hold anything at all: every length and index is checked.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "client_shim/trace_format.h"
#include "transport/base/status.h"

namespace farcall::cli {

// CallKind of client_shim/stats.h, as people read it.
enum class Kind { kLocal, kQueued, kWaited, kCached };
inline constexpr int kKinds = 4;

struct TracedEvent {
  std::int64_t start_ns = 0;  // from the first event of the trace
  std::int64_t duration_ns = 0;
  std::int64_t wait_ns = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint32_t function = 0;  // into functions
  std::uint32_t site = 0;      // into sites
  std::uint32_t thread = 0;    // into threads
  Kind kind = Kind::kLocal;
  std::uint32_t round_trips = 0;
};

struct SiteFrame {
  std::string module;  // path; empty: of no file
  std::uint64_t offset = 0;
};

struct TraceData {
  std::uint32_t process = 0;
  std::string program;  // path
  std::vector<std::string> functions;
  std::vector<std::vector<SiteFrame>> sites;  // [0]: not known
  std::vector<std::uint32_t> threads;         // the system's ids
  std::vector<TracedEvent> events;            // by start
  std::uint64_t dropped = 0;
  bool is_whole = false;  // the program ended and said so
  nlohmann::json report;  // FARCALL_STATS; null when it is not whole
};

// Errors: kSystem, kMalformed when it is no trace.
Result<TraceData> read_trace(const std::string& path);
Result<TraceData> parse_trace(std::string_view bytes);

}  // namespace farcall::cli
