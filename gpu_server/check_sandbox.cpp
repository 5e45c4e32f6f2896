#include "gpu_server/check_sandbox.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

using security::SandboxLayer;
using security::SandboxMode;
using security::SandboxReport;

constexpr std::size_t kReportBytesMax = 16'384;

constexpr const char* kRdmaMeans =
    "sessions over RDMA have fewer walls: the host's network, its RDMA devices and the server's "
    "user; system calls are filtered by a list of what is forbidden";
constexpr const char* kOffMeans =
    "--sandbox off: a worker that is taken over can reach the files, processes and network that "
    "this server's user can";

std::string read_until_end(int socket, Deadline deadline) {
  std::string lines;
  std::array<char, 4096> piece;
  while (lines.size() < kReportBytesMax) {
    pollfd wait{.fd = socket, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, deadline.left_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    const ssize_t got = ::read(socket, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    lines.append(piece.data(), static_cast<std::size_t>(got));
  }
  return lines;
}

}  // namespace

Result<SandboxReport> try_sandbox(WorkerProcess::Command command) {
  command.only_report = true;
  command.rdma_address.clear();  // sessions over RDMA have a profile of their own
  if (::geteuid() == 0) command.uid = security::kWorkerUidFirst;
  Result<WorkerProcess> worker = WorkerProcess::spawn(command);
  if (!worker.ok()) return worker.status();
  const std::string lines =
      read_until_end(worker->socket(), Deadline::after(system_clock(), limits::kHandshakeMs));
  const std::string how = worker->end();
  Result<SandboxReport> report = security::report_from_lines(lines);
  if (report.ok() && !report->empty()) return report;
  return Status(Code::kSystem, "a worker that was to try the sandbox ended without a word: " + how);
}

Status log_sandbox(const WorkerProcess::Command& command, const Result<SandboxReport>& report) {
  const SandboxMode mode = command.sandbox;
  if (mode == SandboxMode::kOff) {
    FARCALL_LOG_WARN("%s", kOffMeans);
    return ok();
  }
  if (!report.ok()) return report.status();
  std::string held;
  Status first_gap;
  for (const SandboxLayer& layer : report.value()) {
    if (layer.held.ok()) {
      held += (held.empty() ? "" : ", ") + layer.name;
      continue;
    }
    if (first_gap.ok() && layer.wall)
      first_gap = {Code::kUnsupported, layer.name + ": " + layer.held.text()};
    FARCALL_LOG_WARN("sandbox: no %s (%s): %s", layer.name.c_str(), layer.held.text().c_str(),
                     layer.meaning.c_str());
  }
  FARCALL_LOG_INFO("sandbox: workers have %s", held.c_str());
  if (!command.rdma_address.empty()) FARCALL_LOG_WARN("sandbox: %s", kRdmaMeans);
  if (mode == SandboxMode::kStrict && !first_gap.ok()) {
    return {Code::kUnsupported, "--sandbox strict: " + first_gap.text()};
  }
  return ok();
}

bool print_sandbox(const WorkerProcess::Command& command, const Result<SandboxReport>& report) {
  const SandboxMode mode = command.sandbox;
  if (mode == SandboxMode::kOff) {
    std::printf("%-12s %s  %s\n", "sandbox", "OFF    ", kOffMeans);
    return true;
  }
  if (!report.ok()) {
    std::printf("%-12s %s  %s\n", "sandbox", "FAILED ", report.status().text().c_str());
    return false;
  }
  const SandboxReport& layers = report.value();
  const bool whole = complete(layers);
  const bool serves = whole || mode != SandboxMode::kStrict;
  std::printf("%-12s %s  --sandbox %s%s\n", "sandbox",
              whole ? "ok     " : (serves ? "gaps   " : "FAILED "),
              std::string(name_of(mode)).c_str(),
              serves ? "" : ": the server would not start; best goes on without what is missing");
  for (const SandboxLayer& layer : layers) {
    if (layer.held.ok()) {
      std::printf("  %-17s held\n", layer.name.c_str());
    } else {
      std::printf("  %-17s MISSING  %s\n%30s%s\n", layer.name.c_str(), layer.held.text().c_str(),
                  "", layer.meaning.c_str());
    }
  }
  if (!command.rdma_address.empty()) std::printf("  %-17s %s\n", "RDMA", kRdmaMeans);
  return serves;
}

}  // namespace farcall::server
