// What FARCALL_TRACE writes: each call once, whoever made it, in a file of its own.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "client_shim/trace.h"
#include "client_shim/trace_file.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/farcall-trace-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

struct Told {
  std::vector<TraceEvent> events;
  std::map<std::uint32_t, std::string> names;
  std::string report;
  std::uint32_t dropped = 0;

  explicit Told(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream all;
    all << file.rdbuf();
    std::string bytes = all.str();
    REQUIRE(bytes.size() >= sizeof(TraceHeader));
    REQUIRE(std::memcmp(bytes.data(), kTraceMagic, sizeof kTraceMagic) == 0);
    for (std::size_t at = sizeof(TraceHeader); at < bytes.size();) {
      TraceChunk chunk{};
      std::memcpy(&chunk, bytes.data() + at, sizeof chunk);
      REQUIRE(at + sizeof chunk + chunk.bytes <= bytes.size());
      take(chunk.kind, std::string_view(bytes).substr(at + sizeof chunk, chunk.bytes));
      at += sizeof chunk + (chunk.bytes + 7) / 8 * 8;
    }
  }

  void take(TraceChunkKind kind, std::string_view body) {
    if (kind == TraceChunkKind::kReport) report = body;
    if (kind == TraceChunkKind::kNames) {
      TraceName head{};
      std::memcpy(&head, body.data(), sizeof head);
      names[head.index] = body.substr(sizeof head);
    }
    if (kind != TraceChunkKind::kEvents) return;
    TraceEvents head{};
    std::memcpy(&head, body.data(), sizeof head);
    dropped += head.dropped;
    for (body.remove_prefix(sizeof head); !body.empty(); body.remove_prefix(sizeof(TraceEvent))) {
      REQUIRE(body.size() >= sizeof(TraceEvent));
      events.emplace_back();
      std::memcpy(&events.back(), body.data(), sizeof(TraceEvent));
    }
  }
};

void one_call(Stats& stats, Trace& trace, const char* name) {
  TracedCall call(trace);
  stats.count(CallKind::kQueued, name);
}

// noinline, so that each has a return address of its own.
__attribute__((noinline)) std::uint16_t ask_site(CallSites& sites, SiteCache& cache) {
  int here = 0;
  std::uint16_t site = sites.find(cache, 1, &here);
  asm volatile("" : : "r"(&here) : "memory");  // no tail call
  return site;
}

}  // namespace

TEST_CASE("a traced call says what it was, how long it waited and what it moved") {
  Folder folder;
  const std::string path = folder.path / "one.trace";
  Stats stats(true);
  Trace trace(path, stats, system_clock());
  {
    TracedCall call(trace);
    stats.count(CallKind::kQueued, "cuMemcpyHtoD_v2");
    stats.moved(5'000'000'000, 0);
    {
      TracedCall inside(trace);  // belongs to the outer one
      stats.count(CallKind::kAsked, "cuStreamSynchronize");
      stats.waited(1234);
    }
    stats.moved(0, 7);
  }
  trace.finish("{\"figures\": 1}");
  Told told(path);
  REQUIRE(told.events.size() == 1);
  const TraceEvent& event = told.events[0];
  CHECK(told.names[event.function] == "cuMemcpyHtoD_v2");
  CHECK(event.kind == static_cast<int>(CallKind::kAsked));
  CHECK(event.wait_ns.value() == 1234);
  CHECK(event.round_trips == 1);
  CHECK(event.bytes_out.value() / (1 << 20) == 5'000'000'000 / (1 << 20));
  CHECK(event.bytes_in.value() == 7);
  CHECK(told.report == "{\"figures\": 1}");
}

TEST_CASE("no call of any thread is missing from a trace") {
  Folder folder;
  const std::string path = folder.path / "threads.trace";
  constexpr int kThreads = 8, kCalls = 5000;
  Stats stats(true);
  Trace trace(path, stats, system_clock());
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int call = 0; call < kCalls; ++call) one_call(stats, trace, i % 2 ? "odd" : "even");
      if (i % 4 != 0) trace.end_thread();  // the others live to the end, as far as it knows
    });
  }
  for (auto& thread : threads) thread.join();
  trace.finish("{}");
  Told told(path);
  std::map<std::string, int> counts;
  for (const TraceEvent& event : told.events) ++counts[told.names[event.function]];
  CHECK(told.dropped == 0);
  CHECK(counts["odd"] == kThreads / 2 * kCalls);
  CHECK(counts["even"] == kThreads / 2 * kCalls);
}

TEST_CASE("a finished trace takes no more calls, and none is written without a path") {
  Folder folder;
  const std::string path = folder.path / "finished.trace";
  Stats stats(true);
  Trace trace(path, stats, system_clock());
  one_call(stats, trace, "before");
  trace.finish("{}");
  one_call(stats, trace, "after");
  CHECK(Told(path).events.size() == 1);
  Trace none("", stats, system_clock());
  one_call(stats, none, "nowhere");
  none.finish("{}");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("two ways to a function are two sites, also where they share a frame's address") {
  CallSites sites(nullptr);
  SiteCache cache;
  std::uint16_t first = 0, second = 0;
  for (int i = 0; i < 3; ++i) {
    std::uint16_t here = ask_site(sites, cache);
    std::uint16_t there = ask_site(sites, cache);
    CHECK(here != 0);
    CHECK(here != there);
    if (i > 0) {
      CHECK(here == first);
      CHECK(there == second);
    }
    first = here;
    second = there;
  }
  CallSites::News news = sites.news();
  CHECK(news.sites.size() == 2);
  const std::string own = std::filesystem::read_symlink("/proc/self/exe");
  CHECK(news.modules.at(news.sites[0].frame[0].module) == own);
  CHECK(sites.news().sites.empty());
}

TEST_CASE("a trace replaces an older file, but neither a device nor one that is being written") {
  Folder folder;
  const std::string path = folder.path / "run-%p.trace";
  const std::string mine = folder.path / ("run-" + std::to_string(::getpid()) + ".trace");
  std::ofstream(mine) << "of an earlier run";
  auto file = open_trace_file(path);
  REQUIRE(file.ok());
  CHECK(std::filesystem::file_size(mine) == sizeof(TraceHeader));
  // Still open, as another process would have it.
  auto other = open_trace_file(path);
  REQUIRE(other.ok());
  CHECK(std::filesystem::exists(mine + "." + std::to_string(::getpid())));
  file.value().reset();
  CHECK(open_trace_file(path).ok());
  const std::string pipe = folder.path / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(open_trace_file(pipe).status().code() == Code::kUnsupported);
  CHECK(open_trace_file(folder.path / "no/such/folder").status().code() == Code::kSystem);
}
