#include "tools/cli/authority_server.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <ctime>

#include "security/authority_client.h"
#include "security/tls_channel.h"
#include "transport/base/limits_authority.h"
#include "transport/base/log.h"
#include "transport/link/acceptor.h"
#include "transport/link/socket.h"

namespace farcall::cli {
namespace {

constexpr std::int64_t kDaySeconds = 86'400;
// Two months are time enough to bring the root's key from its safe.
constexpr std::int64_t kIssuingWarnSeconds = 60 * kDaySeconds;

LogLimit g_stranger_log(5);

}  // namespace

Result<std::unique_ptr<AuthorityServer>> AuthorityServer::open(AuthorityServerOptions options) {
  const std::string folder = options.service.folder;
  const auto keys = options.service.keys;
  auto service = security::AuthorityService::open(std::move(options.service));
  if (!service.ok()) return service.status();
  std::unique_ptr<AuthorityServer> server(new AuthorityServer(std::move(service).value()));
  server->folder_ = folder;
  server->keys_ = keys;
  server->stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->stop_) return Status::system("make an eventfd");
  Result<Fd> listener = link::listen_tcp(options.host, options.port);
  if (!listener.ok()) return listener.status();
  server->listener_ = std::move(listener).value();
  server->look_after_itself();
  if (!server->tls_) return Status(Code::kSystem, "the service has no certificate of its own");
  return server;
}

AuthorityServer::~AuthorityServer() {
  stop();
  join(true);
}

std::uint16_t AuthorityServer::port() const { return link::bound_port(listener_); }

void AuthorityServer::stop() {
  const std::uint64_t one = 1;
  if (stop_) static_cast<void>(!::write(stop_.get(), &one, sizeof one));
}

// Its own certificate, the deny list's date, and the end of the authority that it has.
void AuthorityServer::look_after_itself() {
  const std::int64_t now = std::time(nullptr);
  if (now - looked_ < security::AuthorityService::kOwnLookSeconds && now >= looked_) return;
  looked_ = now;
  auto tls = service_.context();
  if (tls.ok()) {
    tls_ = std::make_shared<const security::TlsContext>(std::move(tls).value());
  } else {
    FARCALL_LOG_ERROR("%s", tls.status().text().c_str());
  }
  if (now - listed_ >= kDaySeconds) {
    listed_ = now;
    auto ca = security::CaFolder::open(folder_, keys_);
    Status dated = ca.ok() ? ca->acting_for({.role = "server"}).revoke({}, "") : ca.status();
    if (!dated.ok()) FARCALL_LOG_ERROR("deny list: %s", dated.text().c_str());
  }
  auto until = service_.issuing_until();
  if (until.ok() && until.value() - now < kIssuingWarnSeconds && now - warned_ >= kDaySeconds) {
    warned_ = now;
    FARCALL_LOG_WARN(
        "the issuing authority ends on %s, and what it issues no later: bring the root's key and "
        "make another with 'farcall ca init --issuing --dir %s'",
        security::date_text(until.value()).c_str(), folder_.c_str());
  }
}

Status AuthorityServer::run(int signal_fd) {
  for (;;) {
    pollfd wait[] = {{.fd = listener_.get(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = signal_fd, .events = POLLIN, .revents = 0}};
    constexpr int kPatienceMs = security::AuthorityService::kOwnLookSeconds * 1000;
    if (::poll(wait, 3, kPatienceMs) < 0 && errno != EINTR) {
      return Status::system("wait for connections");
    }
    if (wait[1].revents != 0 || wait[2].revents != 0) return ok();
    look_after_itself();
    join(false);
    if (wait[0].revents != 0) accept_one();
  }
}

void AuthorityServer::accept_one() {
  Result<Fd> socket = link::accept_tcp(listener_);
  if (!socket.ok()) {
    if (g_stranger_log.allow()) FARCALL_LOG_WARN("%s", socket.status().text().c_str());
    return;
  }
  if (connections_.size() >= limits::kAuthorityConnectionsMax) {
    if (g_stranger_log.allow()) {
      FARCALL_LOG_WARN("%zu connections at a time; closing one from %s", connections_.size(),
                       link::peer_address(socket.value()).c_str());
    }
    return;
  }
  Connection& connection = connections_.emplace_back();
  auto serve_it = [this, &connection, tls = tls_, held = std::move(socket).value()]() mutable {
    try {
      serve(std::move(held), tls);
    } catch (const std::exception& error) {  // memory ran out: this connection's end
      FARCALL_LOG_ERROR("connection dropped: %s", error.what());
    }
    connection.ended = true;
  };
  try {
    connection.thread = std::thread(std::move(serve_it));
  } catch (const std::exception& error) {
    connections_.pop_back();
    if (g_stranger_log.allow()) FARCALL_LOG_ERROR("connection dropped: %s", error.what());
  }
}

void AuthorityServer::serve(Fd socket, const Tls& tls) {
  const std::string from = link::peer_address(socket);
  const Deadline deadline = Deadline::after(system_clock(), limits::kAuthorityConnectionMs);
  link::tune_socket(socket.get());
  auto channel = security::TlsChannel::accept(std::move(socket), *tls, deadline);
  Status done = channel.status();
  Result<std::vector<std::byte>> request = done;
  if (done.ok()) {
    request = security::receive_request(*channel.value(), deadline);
    done = request.status();
  }
  if (!done.ok()) {
    service_.refused(from, done, std::time(nullptr));
    if (g_stranger_log.allow()) {
      FARCALL_LOG_INFO("connection from %s: %s", from.c_str(), done.to_string().c_str());
    }
    return;
  }
  const bool is_member = channel.value()->has_peer();
  const security::PeerIdentity& peer = channel.value()->peer();
  const Result<security::Sha256> nonce = security::quote_nonce(*channel.value());
  if (!nonce.ok()) {
    FARCALL_LOG_ERROR("%s", nonce.status().text().c_str());
    return;
  }
  const security::AuthorityReply reply = service_.answer(
      {is_member ? &peer : nullptr, from, nonce.value()}, request.value(), std::time(nullptr));
  const std::string who = is_member ? security::identity_uri(peer) : "no member";
  if (reply.refusal.ok()) {
    FARCALL_LOG_INFO("%s at %s: granted", who.c_str(), from.c_str());
  } else if (g_stranger_log.allow()) {
    FARCALL_LOG_WARN("%s at %s: %s", who.c_str(), from.c_str(), reply.refusal.text().c_str());
  }
  static_cast<void>(channel.value()->send(encode(reply), deadline));  // it may be gone
}

void AuthorityServer::join(bool all) {
  for (auto at = connections_.begin(); at != connections_.end();) {
    if (!all && !at->ended) {
      ++at;
      continue;
    }
    at->thread.join();
    at = connections_.erase(at);
  }
}

}  // namespace farcall::cli
