// The supervisor, who it is and whom it lets in no longer: certificate, key, CA and deny list, read
// when it starts and again whenever one of them is replaced.
//
// Sessions keep running over a change of the server's certificate: their keys came from a handshake
// that is long done. They outlive neither their client's certificate, unless it has shown a renewed
// one, nor its place on the deny list.
#include <ctime>

#include "gpu_server/supervisor.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

using Side = security::TlsContext::Side;

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

Status denied(const security::PeerIdentity& who, const security::Denial& denial) {
  const std::string whose =
      who.kind == security::IdentityKind::kServer
          ? "the certificate of server " + who.host + ", with which there is a link,"
          : "your certificate";
  return {Code::kDenied, whose + " " + security::explain_denial(denial)};
}

}  // namespace

Status Supervisor::load_identity() {
  if (!deny_list_ && !options_.identity.deny_list_path.empty()) {
    auto list =
        security::DenyList::open(options_.identity.deny_list_path, options_.identity.ca_path);
    if (!list.ok()) return list.status();
    deny_list_ = std::move(list).value();
  }
  const security::PeerPolicy policy{deny_list_, options_.client_zones};
  const bool has_peers = !options_.peers.empty();
  auto own = security::TlsContext::load(options_.identity,
                                        has_peers ? Side::kServerOfPeers : Side::kServer, policy);
  if (!own.ok()) return own.status();
  if (has_peers) {
    auto dialling = security::TlsContext::load(options_.identity, Side::kPeer, policy);
    if (!dialling.ok()) return dialling.status();
    *peer_tls_.lock() = std::make_shared<const security::TlsContext>(std::move(dialling).value());
  }
  *tls_.lock() = std::make_shared<const security::TlsContext>(std::move(own).value());
  return ok();
}

void Supervisor::reload_identity() {
  const Status fresh = load_identity();
  audit_->certificate_loaded((*tls_.lock())->own(), fresh);
  if (!fresh.ok()) {
    FARCALL_LOG_ERROR("SIGHUP: %s; the old certificate stays in use", fresh.text().c_str());
    return;
  }
  FARCALL_LOG_INFO("SIGHUP: certificate, key and CA read again");
  if (Status fresh = admission_->reload(); !fresh.ok()) {
    FARCALL_LOG_ERROR("SIGHUP: %s; the old lease keys stay in use", fresh.text().c_str());
  }
}

void Supervisor::look_at_files() {
  const std::int64_t now = now_ms();
  for (const std::string& path : files_.watched.changed()) {
    if (path == options_.identity.deny_list_path) {
      files_.deny_list_since_ms = now;
      files_.deny_list_told = false;
    } else {
      files_.identity_since_ms = now;
      files_.identity_told = false;
    }
  }
  // First who may not go on, then who we are.
  if (files_.deny_list_since_ms != 0) take_deny_list();
  if (files_.identity_since_ms != 0) take_identity(now);
  if (const std::size_t ended = live_.end_expired(std::time(nullptr)); ended != 0) {
    FARCALL_LOG_INFO("%zu session(s) ended with the certificates of their clients", ended);
  }
  if (deny_list_) warn_of_old_list(now);
}

void Supervisor::take_identity(std::int64_t now) {
  const Status fresh = load_identity();
  if (!fresh.ok()) {
    // Certificate and key may be replaced one after the other.
    if (now - files_.identity_since_ms < limits::kFilesSettleMs || files_.identity_told) return;
    files_.identity_told = true;
    audit_->certificate_loaded((*tls_.lock())->own(), fresh);
    FARCALL_LOG_ERROR("changed on disk: %s; the old certificate stays in use",
                      fresh.text().c_str());
    return;
  }
  files_.identity_since_ms = 0;
  const security::PeerIdentity own = (*tls_.lock())->own();
  audit_->certificate_loaded(own, fresh);
  FARCALL_LOG_INFO("changed on disk: certificate %s is in use now, valid until %s; sessions go on",
                   own.serial.c_str(), security::date_text(own.not_after).c_str());
}

void Supervisor::take_deny_list() {
  const Status fresh = deny_list_->reload();
  const security::DenyList::Facts facts = deny_list_->facts();
  if (!fresh.ok()) {
    if (files_.deny_list_told) return;
    files_.deny_list_told = true;
    audit_->deny_list_loaded({{"number", std::to_string(facts.number)}}, fresh);
    FARCALL_LOG_ERROR("%s; number %llu stays in force", fresh.text().c_str(),
                      static_cast<unsigned long long>(facts.number));
    return;
  }
  files_.deny_list_since_ms = 0;
  files_.old_list_told_ms = 0;
  const std::size_t ended =
      live_.end_where([this](const security::PeerIdentity& who) { return admits(who); });
  audit_->deny_list_loaded({{"number", std::to_string(facts.number)},
                            {"certificates", std::to_string(facts.certificates)},
                            {"sessions_ended", std::to_string(ended)}},
                           fresh);
  FARCALL_LOG_INFO("deny list %llu: %zu certificate(s) denied, %zu session(s) ended for it",
                   static_cast<unsigned long long>(facts.number), facts.certificates, ended);
  const security::PeerIdentity own = (*tls_.lock())->own();
  if (const auto denial = deny_list_->find(own)) {
    FARCALL_LOG_ERROR("this server's own certificate %s",
                      security::explain_denial(*denial).c_str());
  }
}

// It stays in force: nobody on it is let in again. But nobody can be put on it, either.
void Supervisor::warn_of_old_list(std::int64_t now) {
  const std::int64_t until = deny_list_->facts().good_until;
  if (until >= std::time(nullptr)) return;
  if (files_.old_list_told_ms != 0 && now - files_.old_list_told_ms < limits::kStaleReminderMs) {
    return;
  }
  files_.old_list_told_ms = now;
  FARCALL_LOG_ERROR(
      "%s was good until %s: what was revoked since is unknown here, and this server will not "
      "start again with it; put a fresh one there (farcall ca deny-list)",
      deny_list_->path().c_str(), security::date_text(until).c_str());
}

Status Supervisor::admits(const security::PeerIdentity& peer) const {
  if (!deny_list_) return ok();
  const std::optional<security::Denial> denial = deny_list_->find(peer);
  return denial ? denied(peer, *denial) : ok();
}

}  // namespace farcall::server
