// Stats: what the session cost, for FARCALL_STATS: calls by kind and function, round trips, seconds
// spent waiting for replies.
//
//   stats.count(CallKind::kAsked, "cuMemAlloc_v2", id);
//   stats.waited(nanoseconds);
//   write_report(path, stats.report(…));
//
// Owner: one per client.  Threads: any; counting is one relaxed increment and costs nothing when
// nobody asked for figures.  Names of kernels and sizes of data never get in.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "transport/base/status.h"
#include "transport/link/session.h"

namespace farcall::shim {

enum class CallKind : std::uint8_t { kLocal, kQueued, kAsked, kCached };
inline constexpr int kCallKinds = 4;

class Stats {
 public:
  explicit Stats(bool enabled) : enabled_(enabled) {}
  bool is_enabled() const { return enabled_; }

  // name: a string literal, the exported function. It is also noted in this thread's TracedCall.
  void count(CallKind kind, const char* name) {
    if (enabled_) count_slow(kind, name);
  }
  void waited(std::int64_t ns) {
    if (enabled_) waited_slow(ns);
  }
  // Bytes of the program's that go along with the call this thread is in, for the trace.
  void moved(std::uint64_t bytes_out, std::uint64_t bytes_in) {
    if (enabled_) moved_slow(bytes_out, bytes_in);
  }

  // Open addressing by the literal's address: insert-only, no lock. CUDA has about 640 functions.
  static constexpr std::size_t kSlots = 2048;
  // Null: nothing was counted there.
  const char* name_of(std::size_t slot) const {
    return slots_[slot].name.load(std::memory_order_relaxed);
  }

  struct About {
    std::string server;
    std::string device;
    std::string link;                                     // Session::describe(): carrier and cipher
    std::map<std::string, std::uint64_t> failed_earlier;  // Origins::counts()
    double seconds = 0;
  };
  // The whole report as JSON text.
  std::string report(const About& about, const link::LinkStats& link) const;

 private:
  struct Slot {
    std::atomic<const char*> name{nullptr};
    std::array<std::atomic<std::uint64_t>, kCallKinds> calls{};
  };
  void count_slow(CallKind kind, const char* name);
  void waited_slow(std::int64_t ns);
  static void moved_slow(std::uint64_t bytes_out, std::uint64_t bytes_in);

  const bool enabled_;
  std::atomic<std::int64_t> waited_ns_{0};
  std::array<Slot, kSlots> slots_{};
};

// Replaces the file.  Errors: kSystem.
Status write_report(const std::string& path, const std::string& report);

}  // namespace farcall::shim
