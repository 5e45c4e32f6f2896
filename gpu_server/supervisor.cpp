#include "gpu_server/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "transport/base/log.h"
#include "transport/base/switches.h"

namespace farcall::server {
namespace {

// One line per failed stranger would let strangers fill the log.
LogLimit g_stranger_log(5);

// How long to leave new connections alone when there are no descriptors left for them.
constexpr int kPauseMs = 100;

// A connection that is gone by the time it is accepted must not block the loop.
Status do_not_block(const Fd& listener) {
  if (!listener) return ok();
  const int flags = ::fcntl(listener.get(), F_GETFL);
  if (flags < 0 || ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Status::system("prepare the listening socket");
  }
  return ok();
}

}  // namespace

Supervisor::Supervisor(SupervisorOptions options) : options_(std::move(options)) {}

Status Supervisor::open_groups() {
  const WorkerLimits& limits = options_.worker_limits;
  if (limits.none()) return ok();
  auto groups = WorkerGroups::open_here(limits);
  if (groups.ok()) {
    groups_ = std::move(groups).value();
    FARCALL_LOG_INFO("each worker has %s at most", to_string(limits).c_str());
    return ok();
  }
  if (options_.worker.sandbox == security::SandboxMode::kStrict) {
    return {groups.status().code(), "--sandbox strict: " + groups.status().text()};
  }
  FARCALL_LOG_WARN("workers go without limits: %s", groups.status().text().c_str());
  return ok();
}

Result<std::unique_ptr<Supervisor>> Supervisor::open(SupervisorOptions options) {
  std::unique_ptr<Supervisor> server(new Supervisor(std::move(options)));
  const SupervisorOptions& o = server->options_;
  // Watched before they are read, so that no change falls between.
  server->files_.watched = WatchedFiles({o.identity.certificate_path, o.identity.key_path,
                                         o.identity.ca_path, o.identity.deny_list_path});
  if (Status loaded = server->load_identity(); !loaded.ok()) return loaded;
  Result<std::unique_ptr<Admission>> admission = Admission::open(o.admission, machine_time());
  if (!admission.ok()) return admission.status();
  server->admission_ = std::move(admission).value();
  server->stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->stop_) return Status::system("make an eventfd");
  if (Status limited = server->open_groups(); !limited.ok()) return limited;
  Result<Fd> listener = link::listen_tcp(o.host, o.port);
  if (!listener.ok()) return listener.status();
  server->listener_ = std::move(listener).value();
  if (!o.module_cache.path.empty() && is_on(Switch::kModuleCache)) {
    Result<CacheRoot> root = CacheRoot::open(o.module_cache);
    if (!root.ok()) return root.status();
    server->module_cache_.emplace(std::move(root).value());
    server->module_cache_->make_room();
  }
  if (link::has(o.carriers, link::CarrierKind::kShm)) {
    server->local_name_ = "@farcall-" + link::to_string(link::make_session_id());
    Result<Fd> local = link::listen_abstract(server->local_name_);
    if (!local.ok()) return local.status();
    server->local_listener_ = std::move(local).value();
  }
  if (Status ready = do_not_block(server->listener_); !ready.ok()) return ready;
  if (Status ready = do_not_block(server->local_listener_); !ready.ok()) return ready;
  if (Status known = server->open_code(); !known.ok()) return known;
  if (Status noted = server->record_start(); !noted.ok()) return noted;
  if (server->code_) server->code_->use_log(server->audit_->log());
  if (Status opened = server->open_control(); !opened.ok()) return opened;
  return server;
}

Supervisor::~Supervisor() {
  stop();
  join_all();
}

std::uint16_t Supervisor::port() const { return link::bound_port(listener_); }

void Supervisor::stop() {
  std::uint64_t one = 1;
  if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
}

Status Supervisor::run(int signal_fd) {
  Status result;
  bool accepting = true;
  for (;;) {
    const int patience_ms = files_.watched.look_ms();
    pollfd wait[] = {{.fd = accepting ? listener_.get() : -1, .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = signal_fd, .events = POLLIN, .revents = 0},
                     {.fd = accepting ? local_listener_.get() : -1, .events = POLLIN, .revents = 0},
                     {.fd = files_.watched.fd(), .events = POLLIN, .revents = 0}};
    if (::poll(wait, 5, accepting ? patience_ms : kPauseMs) < 0) {
      if (errno == EINTR) continue;
      result = Status::system("wait for connections");
      break;
    }
    if (wait[1].revents != 0) break;
    if (wait[2].revents != 0 && handle_signal(signal_fd)) break;
    accepting = (wait[0].revents == 0 || accept_one(listener_, link::CarrierKind::kTcp)) &&
                (wait[3].revents == 0 || accept_one(local_listener_, link::CarrierKind::kShm));
    join_ended();
    look_at_files();
    look_at_code();
  }
  listener_.reset();
  local_listener_.reset();
  stop();
  join_all();
  audit_->server_stops(result.ok() ? "told to" : result.to_string());
  return result;
}

bool Supervisor::handle_signal(int signal_fd) {
  signalfd_siginfo info{};
  if (::read(signal_fd, &info, sizeof info) != sizeof info) return false;
  if (info.ssi_signo == SIGHUP) {
    reload_identity();
    return false;
  }
  FARCALL_LOG_INFO("%s: ending %zu session(s)", ::strsignal(static_cast<int>(info.ssi_signo)),
                   sessions());
  return true;
}

bool Supervisor::accept_one(const Fd& listener, link::CarrierKind kind) {
  Result<Fd> accepted = link::accept_tcp(listener);
  if (!accepted.ok()) {
    if (accepted.status().code() == Code::kTimeout) return true;
    if (g_stranger_log.allow()) FARCALL_LOG_WARN("%s", accepted.status().text().c_str());
    int error = accepted.status().detail();
    return error != EMFILE && error != ENFILE && error != ENOMEM && error != ENOBUFS;
  }
  Fd socket = std::move(accepted).value();
  if (strangers() >= options_.strangers_max) {
    if (g_stranger_log.allow()) {
      FARCALL_LOG_WARN("%zu connections are in their handshake; closing one from %s", strangers(),
                       link::peer_address(socket).c_str());
    }
    return true;
  }
  ++strangers_;
  auto threads = threads_.lock();
  std::uint64_t number = threads->next++;
  threads->sockets.emplace(number, Fd(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0)));
  auto serve = [this, number, kind, held = std::move(socket)]() mutable {
    try {
      serve_connection(std::move(held), kind, number);
    } catch (const std::exception& error) {  // memory or threads ran out: this connection's end
      FARCALL_LOG_ERROR("connection dropped: %s", error.what());
    }
    no_longer_a_stranger(number);
    threads_.lock()->ended.push_back(number);
  };
  try {
    threads->running.emplace(number, std::thread(std::move(serve)));
  } catch (const std::exception& error) {
    threads->sockets.erase(number);
    --strangers_;
    if (g_stranger_log.allow()) FARCALL_LOG_ERROR("connection dropped: %s", error.what());
  }
  return true;
}

// Idempotent: the thread calls it when it knows its client, and once more when it ends.
void Supervisor::no_longer_a_stranger(std::uint64_t number) {
  if (threads_.lock()->sockets.erase(number) != 0) --strangers_;
}

void Supervisor::join_ended() {
  std::vector<std::thread> ended;
  {
    auto threads = threads_.lock();
    for (std::uint64_t number : threads->ended) {
      auto node = threads->running.extract(number);
      if (!node.empty()) ended.push_back(std::move(node.mapped()));
    }
    threads->ended.clear();
  }
  for (std::thread& thread : ended) thread.join();
}

void Supervisor::join_all() {
  lanes_.stop();
  std::unordered_map<std::uint64_t, std::thread> running;
  {
    auto threads = threads_.lock();
    for (auto& [number, socket] : threads->sockets) ::shutdown(socket.get(), SHUT_RDWR);
    running.swap(threads->running);
  }
  for (auto& [number, thread] : running) thread.join();
}

// came: the kind of lane that comes in by the listener this connection came in by.
void Supervisor::serve_connection(Fd socket, link::CarrierKind came, std::uint64_t number) {
  std::string from = link::peer_address(socket);
  Deadline deadline = Deadline::after(system_clock(), options_.handshake_ms);
  Result<link::ConnectionKind> kind = link::connection_kind(socket, deadline);
  Status done = kind.status();
  if (kind.ok() && kind.value() == link::ConnectionKind::kLane) {
    Result<link::LaneHello> hello = link::read_lane_hello(socket, deadline);
    done = hello.ok() ? lanes_.deliver(hello.value(), came, std::move(socket)) : hello.status();
  } else if (kind.ok() && came == link::CarrierKind::kShm) {
    done = Status(Code::kMalformed, "TLS where only lanes are expected");
  } else if (kind.ok()) {
    return serve_client(std::move(socket), from, number);
  }
  if (!done.ok()) audit_->refused(nullptr, from, done);
  if (!done.ok() && g_stranger_log.allow()) {
    FARCALL_LOG_INFO("connection from %s: %s", from.c_str(), done.to_string().c_str());
  }
}

}  // namespace farcall::server
