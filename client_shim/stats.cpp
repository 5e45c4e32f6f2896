#include "client_shim/stats.h"

#include <fcntl.h>

#include <cstdio>
#include <map>
#include <string_view>

#include "client_shim/trace.h"
#include "transport/base/unique.h"

namespace farcall::shim {
namespace {

constexpr const char* kKindNames[kCallKinds] = {"local", "queued", "sync", "cached"};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    // The rest of the control characters has no business in a host or device name.
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

void number(std::string& out, const char* name, std::uint64_t value) {
  out += "  " + quoted(name) + ": " + std::to_string(value) + ",\n";
}

}  // namespace

void Stats::count_slow(CallKind kind, const char* name) {
  std::size_t at = (reinterpret_cast<std::uintptr_t>(name) >> 2) % kSlots;
  for (std::size_t tried = 0; tried < kSlots; ++tried, at = (at + 1) % kSlots) {
    const char* held = slots_[at].name.load(std::memory_order_relaxed);
    if (held == nullptr &&
        slots_[at].name.compare_exchange_strong(held, name, std::memory_order_relaxed)) {
      held = name;
    }
    if (held != name) continue;
    slots_[at].calls[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
    TracedCall::note(static_cast<std::uint16_t>(at), kind);
    return;
  }
}

void Stats::waited_slow(std::int64_t ns) {
  waited_ns_.fetch_add(ns, std::memory_order_relaxed);
  TracedCall::note_wait(ns);
}

void Stats::moved_slow(std::uint64_t bytes_out, std::uint64_t bytes_in) {
  TracedCall::note_bytes(bytes_out, bytes_in);
}

std::string Stats::report(const About& about, const link::LinkStats& link) const {
  // One function may have several literals (one per source file): merge by text.
  std::map<std::string, std::uint64_t> calls[kCallKinds];
  std::uint64_t totals[kCallKinds] = {};
  for (const Slot& slot : slots_) {
    const char* name = slot.name.load(std::memory_order_relaxed);
    if (name == nullptr) continue;
    for (std::size_t kind = 0; kind < kCallKinds; ++kind) {
      std::uint64_t count = slot.calls[kind].load(std::memory_order_relaxed);
      if (count == 0) continue;
      calls[kind][name] += count;
      totals[kind] += count;
    }
  }
  char seconds[96];
  std::snprintf(seconds, sizeof seconds,
                "  \"seconds\": %.6f,\n  \"seconds_waiting_in_link\": %.6f,\n", about.seconds,
                static_cast<double>(waited_ns_.load(std::memory_order_relaxed)) * 1e-9);
  std::string out = "{\n  \"server\": " + quoted(about.server) +
                    ",\n  \"device\": " + quoted(about.device) +
                    ",\n  \"link\": " + quoted(about.link) + ",\n" + seconds;
  number(out, "round_trips", link.round_trips);
  number(out, "frames_out", link.frames_out);
  number(out, "frames_in", link.frames_in);
  number(out, "records_out", link.records_out);
  number(out, "records_in", link.records_in);
  number(out, "wire_bytes_out", link.bytes_out);
  number(out, "wire_bytes_in", link.bytes_in);
  number(out, "bulk_bytes_out", link.bulk_bytes_out);
  number(out, "bulk_bytes_in", link.bulk_bytes_in);
  number(out, "bulk_wire_bytes_out", link.bulk_wire_bytes_out);
  number(out, "bulk_wire_bytes_in", link.bulk_wire_bytes_in);
  number(out, "bulk_connections", link.bulk_connections);
  number(out, "crypto_threads", link.crypto_threads);
  number(out, "records_by_crypto_threads", link.records_by_helpers);
  number(out, "records_beside_crypto_threads", link.records_by_callers);
  std::uint64_t failed = 0;
  std::string which;
  for (const auto& [name, count] : about.failed_earlier) {
    failed += count;
    which += ", " + quoted(name) + ": " + std::to_string(count);
  }
  out += "  \"failed_earlier\": {\"total\": " + std::to_string(failed) + which + "},\n";
  out += "  \"calls\": {";
  for (std::size_t kind = 0; kind < kCallKinds; ++kind) {
    out += std::string(kind == 0 ? "\n    " : ",\n    ") + quoted(kKindNames[kind]) +
           ": {\"total\": " + std::to_string(totals[kind]);
    for (const auto& [name, count] : calls[kind]) {
      out += ", " + quoted(name) + ": " + std::to_string(count);
    }
    out += "}";
  }
  return out + "\n  }\n}\n";
}

Status write_report(const std::string& path, const std::string& report) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return Status::system("open " + path);
  std::size_t written = 0;
  while (written < report.size()) {
    ssize_t now = ::write(file.get(), report.data() + written, report.size() - written);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return Status::system("write " + path);
    written += static_cast<std::size_t>(now);
  }
  return ok();
}

}  // namespace farcall::shim
