// What a server says of itself in its audit log when it starts.
#include "gpu_server/supervisor.h"

namespace farcall::server {

Status Supervisor::record_start() {
  const SupervisorOptions& o = options_;
  const security::PeerIdentity own = (*tls_.lock())->own();
  auto audit = AuditEvents::open(o.audit, own.host);
  if (!audit.ok()) return audit.status();
  audit_ = std::move(audit).value();
  std::string peers;
  for (const link::PeerPlace& peer : o.peers) peers += (peers.empty() ? "" : ",") + peer.name;
  return audit_->server_starts({{"version", o.hello.version},
                                {"listen", o.host + ":" + std::to_string(port())},
                                {"driver", o.worker.driver_path},
                                {"carriers", link::names_of(o.carriers)},
                                {"sessions", std::to_string(o.sessions_max)},
                                {"peers", peers},
                                {"sandbox", std::string(security::name_of(o.worker.sandbox))},
                                {"worker_limits", to_string(o.worker_limits)},
                                {"compress", o.compress ? "yes" : "no"},
                                {"module_cache", o.module_cache.path},
                                {"certificate", own.serial}});
}

}  // namespace farcall::server
