// How a client ends: its figures are written, its link is closed, and what a call answers then.
#include <atomic>
#include <cstdio>

#include "client_shim/client.h"
#include "client_shim/stats_security.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace {

// The last generation that was finished, because the program ends.
std::atomic<std::uint64_t> g_finished{0};
// The last generation whose end by its server was told.
std::atomic<std::uint64_t> g_told{0};

}  // namespace

CUresult Client::failed(const Status& why) const {
  // Too long a request is the caller's; anything else means the link has gone.
  if (why.code() == Code::kOverQuota) return CUDA_ERROR_NOT_SUPPORTED;
  // A server that ends a session on purpose says why (a lease has expired). No error of CUDA's
  // does, and the log is off in a program that did not ask for it: so it is told here, once.
  const Status end = session_->closed();
  if (end.code() == Code::kDenied && g_told.exchange(generation_) != generation_) {
    std::fprintf(stderr, "farcall: %s: %s\n", settings_.server.c_str(), end.text().c_str());
  }
  return generation_ <= g_finished.load(std::memory_order_relaxed) ? CUDA_ERROR_DEINITIALIZED
                                                                   : kLinkLost;
}

void Client::finish() {
  g_finished.store(generation_, std::memory_order_relaxed);
  host_functions_.stop();
  if (stats_.is_enabled()) {
    Stats::About about;
    about.server = settings_.server;
    about.device = all_devices_.devices.empty() ? "" : all_devices_.devices[0].name;
    about.link = session_->describe();
    about.failed_earlier = origins_.counts();
    about.seconds = static_cast<double>(clock_.now_ns() - opened_ns_) * 1e-9;
    const std::string report = with_security(stats_.report(about, session_->stats()),
                                             link::security_cost(*session_), about.seconds);
    trace_.finish(report);
    Status written =
        settings_.stats_file.empty() ? ok() : write_report(settings_.stats_file, report);
    if (!written.ok()) FARCALL_LOG_WARN("no figures: %s", written.to_string().c_str());
  }
  session_->close(Status(Code::kClosed, "the program ends"));
}

}  // namespace farcall::shim
