// How many records a second an audit log takes, by threads that each wait until theirs is on disk.
//
//   bench_audit [FOLDER]       default: a folder of its own in the working directory's file system
//
// Prints a line per number of threads. The log is real: chain, checkpoints, fdatasync.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "security/audit.h"
#include "transport/base/clock.h"

using namespace farcall;

namespace {

constexpr std::int64_t kMeasureNs = 2'000'000'000;

security::AuditRecord record() {
  security::AuditRecord one{.kind = std::string(security::audit::kSessionStart), .role = "user"};
  one.principal = "spiffe://lab/tenant/acme/user/ann";
  one.tenant = "acme";
  one.details = {{"session", "0badf00d"}, {"from", "10.0.0.7:4711"}, {"carrier", "tcp"}};
  return one;
}

// Records a second, or a negative number when the log failed.
double measure(security::AuditLog& log, int threads) {
  std::atomic<std::uint64_t> count = 0;
  std::atomic<bool> failed = false;
  const std::int64_t from = system_clock().now_ns();
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&] {
      while (!failed && system_clock().now_ns() - from < kMeasureNs) {
        if (!log.record(record()).ok()) failed = true;
        ++count;
      }
    });
  }
  for (std::thread& each : all) each.join();
  const auto passed = static_cast<double>(system_clock().now_ns() - from) / 1e9;
  return failed ? -1.0 : static_cast<double>(count.load()) / passed;
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder = argc > 1 ? argv[1] : "bench-audit-XXXXXX";
  if (argc <= 1 && ::mkdtemp(folder.data()) == nullptr) return 1;
  {
    auto log = security::AuditLog::open({.folder = folder, .server = "bench"});
    if (!log.ok()) {
      std::fprintf(stderr, "bench_audit: %s\n", log.status().to_string().c_str());
      return 1;
    }
    for (int threads : {1, 4, 16, 64, 256}) {
      const double rate = measure(*log.value(), threads);
      if (rate < 0) return 1;
      std::printf("%4d thread(s): %9.0f records/s, %6.0f us each\n", threads, rate,
                  threads * 1e6 / rate);
    }
  }
  std::error_code ignored;
  if (argc <= 1) std::filesystem::remove_all(folder, ignored);
  return 0;
}
