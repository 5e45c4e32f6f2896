#include "tools/cli/trace_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "transport/base/limits.h"

namespace farcall::cli {
namespace {

using shim::TraceChunkKind;

// What chunks say, before references are resolved: an event may precede the name it uses.
class Parser {
 public:
  Result<TraceData> parse(std::string_view bytes) {
    shim::TraceHeader header{};
    if (!take(bytes, &header) ||
        std::memcmp(header.magic, shim::kTraceMagic, sizeof header.magic) != 0) {
      return Status(Code::kMalformed, "this is no trace of Farcall's (FARCALL_TRACE)");
    }
    if (header.event_bytes != sizeof(shim::TraceEvent)) {
      return Status(Code::kMalformed, "this trace is of another version of Farcall");
    }
    data_.process = header.process;
    shim::TraceChunk chunk{};
    while (take(bytes, &chunk)) {
      if (chunk.bytes > bytes.size()) break;  // cut short
      take_chunk(chunk.kind, bytes.substr(0, chunk.bytes));
      bytes.remove_prefix(std::min<std::size_t>(bytes.size(), (chunk.bytes + 7ULL) / 8 * 8));
    }
    resolve();
    return std::move(data_);
  }

 private:
  template <class T>
  static bool take(std::string_view& bytes, T* value) {
    if (bytes.size() < sizeof(T)) return false;
    std::memcpy(value, bytes.data(), sizeof(T));
    bytes.remove_prefix(sizeof(T));
    return true;
  }

  void take_chunk(TraceChunkKind kind, std::string_view body) {
    switch (kind) {
      case TraceChunkKind::kNames:
        if (shim::TraceName head{}; take(body, &head)) names_[head.index] = body;
        break;
      case TraceChunkKind::kModules:
        if (shim::TraceModule head{}; take(body, &head)) modules_[head.index] = body;
        break;
      case TraceChunkKind::kSites:
        if (shim::TraceSite site{}; take(body, &site)) sites_.push_back(site);
        break;
      case TraceChunkKind::kEvents: take_events(body); break;
      case TraceChunkKind::kReport:
        data_.report = nlohmann::json::parse(body, nullptr, false);
        data_.is_whole = data_.report.is_object();
        if (!data_.is_whole) data_.report = nullptr;
        break;
      default: break;  // of a later version: nothing we could use
    }
  }

  void take_events(std::string_view body) {
    shim::TraceEvents head{};
    if (!take(body, &head)) return;
    data_.dropped += head.dropped;
    const auto thread = index_of_thread(head.thread);
    for (shim::TraceEvent raw{}; take(body, &raw);) {
      TracedEvent event;
      event.start_ns = raw.start_ns;
      event.duration_ns = static_cast<std::int64_t>(raw.duration_ns.value());
      event.wait_ns = std::min(event.duration_ns, static_cast<std::int64_t>(raw.wait_ns.value()));
      event.bytes_out = raw.bytes_out.value();
      event.bytes_in = raw.bytes_in.value();
      event.function = raw.function;
      event.site = raw.site;
      event.thread = thread;
      event.kind = raw.kind < kKinds ? static_cast<Kind>(raw.kind) : Kind::kLocal;
      event.round_trips = raw.round_trips;
      data_.events.push_back(event);
    }
  }

  std::uint32_t index_of_thread(std::uint32_t id) {
    auto at = std::find(data_.threads.begin(), data_.threads.end(), id);
    if (at == data_.threads.end()) at = data_.threads.insert(at, id);
    return static_cast<std::uint32_t>(at - data_.threads.begin());
  }

  void resolve() {
    // Several literals may spell one function: they become one.
    std::map<std::string, std::uint32_t> by_text;
    std::map<std::uint32_t, std::uint32_t> by_index;
    auto enter = [&](const std::string& text) {
      auto [at, is_new] = by_text.emplace(text, static_cast<std::uint32_t>(data_.functions.size()));
      if (is_new) data_.functions.push_back(text);
      return at->second;
    };
    for (const auto& [index, text] : names_) by_index[index] = enter(std::string(text));
    resolve_sites();
    // The loader lists the program itself first.
    if (!modules_.empty()) data_.program = modules_.begin()->second;
    std::int64_t first = INT64_MAX;
    for (const TracedEvent& event : data_.events) first = std::min(first, event.start_ns);
    for (TracedEvent& event : data_.events) {
      event.start_ns -= first;
      auto known = by_index.find(event.function);
      event.function = known != by_index.end() ? known->second : enter("?");
      if (event.site >= data_.sites.size()) event.site = 0;
    }
    std::stable_sort(
        data_.events.begin(), data_.events.end(),
        [](const TracedEvent& a, const TracedEvent& b) { return a.start_ns < b.start_ns; });
  }

  void resolve_sites() {
    data_.sites.resize(1);
    for (const shim::TraceSite& raw : sites_) {
      if (raw.index == 0 || raw.index > limits::kTraceSitesMax) continue;
      if (data_.sites.size() <= raw.index) data_.sites.resize(raw.index + 1);
      auto& frames = data_.sites[raw.index];
      frames.clear();
      for (std::uint32_t i = 0; i < std::min<std::uint32_t>(raw.frames, shim::kTraceFrames); ++i) {
        auto module = modules_.find(raw.frame[i].module);
        frames.push_back({module == modules_.end() ? std::string() : std::string(module->second),
                          raw.frame[i].offset});
      }
    }
  }

  TraceData data_;
  std::map<std::uint32_t, std::string_view> names_;
  std::map<std::uint32_t, std::string_view> modules_;
  std::vector<shim::TraceSite> sites_;
};

}  // namespace

Result<TraceData> parse_trace(std::string_view bytes) { return Parser().parse(bytes); }

Result<TraceData> read_trace(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status::system("open " + path);
  std::ostringstream all;
  all << file.rdbuf();
  if (!file || !all) return Status(Code::kSystem, "cannot read " + path, EIO);
  auto parsed = parse_trace(all.view());
  if (!parsed.ok()) return Status(parsed.status().code(), path + ": " + parsed.status().text());
  return parsed;
}

}  // namespace farcall::cli
