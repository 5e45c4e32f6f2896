#include "gpu_server/check_code.h"

#include <cstdio>

#include "gpu_server/loaded_code.h"
#include "security/crypto.h"
#include "transport/base/clock.h"
#include "transport/base/limits.h"

namespace farcall::server {
namespace {

void say(const char* how, const std::string& text) {
  std::printf("%-12s %-7s  %s\n", "code", how, text.c_str());
}

}  // namespace

Result<std::vector<std::string>> code_of_worker(WorkerProcess::Command command) {
  command.only_report = true;
  command.tells_code = true;
  command.rdma_address.clear();
  Result<WorkerProcess> worker = WorkerProcess::spawn(command);
  if (!worker.ok()) return worker.status();
  auto code = receive_code(worker->socket(), Deadline::after(system_clock(), limits::kHandshakeMs));
  if (code.status().code() != Code::kClosed) return code;
  return Status(Code::kSystem, "a worker that was to tell what it runs ended before: " +
                                   worker->end() + " (its own words are above)");
}

bool print_code(const std::optional<security::CodeOptions>& options,
                const WorkerProcess::Command& worker) {
  if (!options) {
    say("none", "no --manifest: nobody looks whether this server's code was changed");
    return true;
  }
  auto code = security::CodeIntegrity::open(*options);
  if (!code.ok()) {
    say("FAILED", code.status().text());
    return false;
  }
  Result<std::vector<std::string>> loaded = code_of_worker(worker);
  const security::CodeVerdict verdict =
      code.value()->look(loaded.ok() ? loaded.value() : std::vector<std::string>());
  const std::string manifest = options->manifest + ", SHA-256 " +
                               security::to_hex(code.value()->digest()) + ", " +
                               std::to_string(verdict.files) + " files, " +
                               std::to_string(verdict.hashed >> 20) + " MiB of them hashed now";
  say(verdict.fine() ? "ok" : "FAILED", manifest);
  for (const auto& each : verdict.findings) std::printf("  %s\n", each.text().c_str());
  for (const auto& each : verdict.unlisted)
    std::printf("  %s (told of only)\n", each.text().c_str());
  for (const auto& each : verdict.approved) {
    std::printf("  %s is another, approved by %s until %s: %s\n", each.path.c_str(),
                each.owner.c_str(), security::date_text(each.until).c_str(), each.reason.c_str());
  }
  if (!loaded.ok())
    std::printf("  what a worker runs is not known: %s\n", loaded.status().text().c_str());
  return verdict.fine();
}

}  // namespace farcall::server
