// The supervisor and its own code: no worker is started of files that nobody answers for.
#include "gpu_server/loaded_code.h"
#include "gpu_server/supervisor.h"
#include "transport/base/limits_manifest.h"
#include "transport/base/log.h"

namespace farcall::server {

Status Supervisor::open_code() {
  if (!options_.code) return ok();
  auto guard = CodeGuard::open(*options_.code, options_.worker.worker_path);
  if (!guard.ok()) return guard.status();
  code_ = std::move(guard).value();
  return ok();
}

Result<WorkerProcess> Supervisor::start_known_worker(const link::ControlConnection& control,
                                                     const Admitted& lease, const Seated& seated,
                                                     link::CarrierOffer* offer) {
  if (!code_) return start_worker(control, lease, seated, offer, nullptr);
  Result<CodeGuard::Start> start = code_->start();
  if (!start.ok()) return start.status();
  return start_worker(control, lease, seated, offer, &start.value());
}

Status Supervisor::check_loaded(const WorkerProcess& worker, const CodeGuard::Start& code) {
  auto loaded =
      receive_code(worker.socket(), Deadline::after(system_clock(), options_.handshake_ms));
  if (loaded.ok()) return code_->admits(code, loaded.value());
  FARCALL_LOG_ERROR("a worker does not tell what it runs: %s", loaded.status().to_string().c_str());
  return {Code::kSystem, "the server could not start a worker"};
}

void Supervisor::look_at_code() {
  if (!code_) return;
  const std::int64_t now_ms = system_clock().now_ns() / 1'000'000;
  if (now_ms - code_looked_ms_ < limits::kCodeLookMs) return;
  code_looked_ms_ = now_ms;
  code_->look();
}

}  // namespace farcall::server
