#include "gpu_server/worker_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <string_view>

#include "security/sandbox_kills.h"
#include "security/sandbox_spawn.h"
#include "transport/base/clock.h"
#include "transport/base/limits_containment.h"
#include "transport/base/limits_wipe.h"

extern char** environ;

namespace farcall::server {
namespace {

constexpr int kSocketInWorker = 3;
constexpr int kCacheInWorker = 4;
constexpr int kLedgerInWorker = 5;
constexpr int kFactsInWorker = 6;
constexpr int kFactsPipeInWorker = 7;
constexpr int kDoorbellInWorker = 8;

std::vector<std::string> words_of(const WorkerProcess::Command& command) {
  std::vector<std::string> words = {command.worker_path, "--driver", command.driver_path, "--scrub",
                                    command.scrub};
  if (!command.rdma_address.empty()) {
    words.insert(words.end(), {"--rdma", command.rdma_address});
  }
  if (!command.peers.empty()) {
    words.insert(words.end(), {"--name", command.name, "--peers", command.peers});
  }
  if (command.cache_folder >= 0) {
    words.insert(words.end(), {"--module-cache", std::to_string(command.cache_bytes)});
  }
  if (command.ledger >= 0) {
    words.insert(words.end(), {"--ledger", std::to_string(command.ledger_slot)});
  }
  if (command.facts_page >= 0) words.insert(words.end(), {"--facts", "yes"});
  if (command.doorbell >= 0) words.insert(words.end(), {"--turns", "yes"});
  if (command.families != ~std::uint64_t{0}) {
    words.insert(words.end(), {"--families", std::to_string(command.families)});
  }
  words.insert(words.end(), {"--sandbox", std::string(name_of(command.sandbox))});
  if (command.uid != 0) words.insert(words.end(), {"--uid", std::to_string(command.uid)});
  if (command.tells_code) words.insert(words.end(), {"--code", "yes"});
  if (command.only_report) words.insert(words.end(), {"--only-report", "yes"});
  return words;
}

void show_devices(const std::string& visible, std::vector<std::string>* environment) {
  constexpr std::string_view kVariable = "CUDA_VISIBLE_DEVICES=";
  std::erase_if(*environment, [&](const std::string& entry) {
    return std::string_view(entry).starts_with(kVariable);
  });
  environment->push_back(std::string(kVariable) + visible);
}

// Every other descriptor of ours is close-on-exec. Standard output belongs to nobody here: what a
// driver prints may be a tenant's.
security::SpawnOrder order_of(const WorkerProcess::Command& command, int socket) {
  security::SpawnOrder order;
  order.path = command.worker_path;
  order.program = command.program;
  order.words = words_of(command);
  order.environment = worker_environment(environ);
  if (!command.visible_devices.empty()) show_devices(command.visible_devices, &order.environment);
  order.descriptors.push_back({socket, kSocketInWorker});
  if (command.cache_folder >= 0) {
    order.descriptors.push_back({command.cache_folder, kCacheInWorker});
  }
  if (command.ledger >= 0) order.descriptors.push_back({command.ledger, kLedgerInWorker});
  if (command.facts_page >= 0) {
    order.descriptors.push_back({command.facts_page, kFactsInWorker});
    order.descriptors.push_back({command.facts_pipe, kFactsPipeInWorker});
  }
  if (command.doorbell >= 0) order.descriptors.push_back({command.doorbell, kDoorbellInWorker});
  order.uid = command.uid;
  order.group = command.group;
  return order;
}

// Into namespaces where they are to be had; else the worker is told why it has none.
Result<security::SpawnedProcess> start(const WorkerProcess::Command& command, int socket) {
  security::SpawnOrder order = order_of(command, socket);
  Status why_not;
  if (!command.rdma_address.empty()) {
    why_not = Status(Code::kUnsupported, "RDMA needs the host's network and devices");
  }
  if (command.sandbox != security::SandboxMode::kOff && why_not.ok()) {
    order.words.insert(order.words.end(), {"--namespaces", "own"});
    auto started = security::spawn_isolated(order);
    if (started.status().code() != Code::kUnsupported) return started;
    if (command.sandbox == security::SandboxMode::kStrict) return started;
    why_not = started.status();
    order.words.resize(order.words.size() - 2);
  }
  if (!why_not.ok()) order.words.insert(order.words.end(), {"--no-namespaces", why_not.text()});
  order.own_namespaces = false;
  return security::spawn_isolated(order);
}

}  // namespace

std::vector<std::string> worker_environment(const char* const* environment) {
  // LD_PRELOAD is left out on purpose: on a machine that is client and server at once it would put
  // the client library in the place of the driver.
  constexpr std::string_view kKept[] = {
      "CUDA_", "NVIDIA_", "FARCALL_",      "PATH=",         "LD_LIBRARY_PATH=",
      "LANG=", "TZ=",     "ASAN_OPTIONS=", "TSAN_OPTIONS=", "UBSAN_OPTIONS="};
  std::vector<std::string> kept;
  for (; *environment != nullptr; ++environment) {
    std::string_view entry(*environment);
    // A driver's disk cache and core dumps would put a tenant's code and data on a disk.
    if (entry.starts_with("CUDA_CACHE_") || entry.starts_with("CUDA_ENABLE_")) continue;
    for (std::string_view prefix : kKept) {
      if (entry.starts_with(prefix)) {
        kept.emplace_back(entry);
        break;
      }
    }
  }
  kept.emplace_back("CUDA_CACHE_DISABLE=1");
  return kept;
}

Result<WorkerProcess> WorkerProcess::spawn(const Command& command) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Status::system("make a socket pair for a worker");
  }
  Fd ours(pair[0]);
  Fd theirs(pair[1]);
  auto started = start(command, theirs.get());
  if (!started.ok()) return started.status();
  return WorkerProcess(started->pid, std::move(started->pid_fd), std::move(ours));
}

WorkerProcess::WorkerProcess(pid_t pid, Fd pid_fd, Fd socket)
    : pid_(pid), pid_fd_(std::move(pid_fd)), socket_(std::move(socket)) {}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      broke_rules_(other.broke_rules_),
      frozen_(other.frozen_),
      pid_fd_(std::move(other.pid_fd_)),
      socket_(std::move(other.socket_)),
      group_(std::move(other.group_)) {}

WorkerProcess::~WorkerProcess() { (void)end(); }

Status WorkerProcess::freeze() {
  if (pid_ < 0 || ::kill(pid_, SIGSTOP) != 0) return Status::system("stop a worker");
  frozen_ = true;
  const Deadline deadline = Deadline::after(system_clock(), limits::kFreezeMs);
  for (;;) {
    siginfo_t seen{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &seen, WSTOPPED | WEXITED | WNOHANG | WNOWAIT) !=
        0) {
      return Status::system("see a worker stop");
    }
    if (seen.si_pid != 0) return ok();  // stopped, or it has ended
    if (deadline.passed()) return {Code::kTimeout, "the worker does not stop"};
    pollfd wait{.fd = pid_fd_.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&wait, 1, 1);
  }
}

void WorkerProcess::thaw() {
  frozen_ = false;
  if (pid_ >= 0) ::kill(pid_, SIGCONT);
}

std::string WorkerProcess::end() {
  if (pid_ < 0) return "";
  socket_.reset();  // the worker takes the end of its socket as the end of its service
  if (frozen_) thaw();
  pollfd wait{.fd = pid_fd_.get(), .events = POLLIN, .revents = 0};
  int ended;
  do ended = ::poll(&wait, 1, limits::kWorkerGraceMs + limits::kWipeGraceMs);
  while (ended < 0 && errno == EINTR);
  if (ended <= 0) ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  const pid_t pid = std::exchange(pid_, -1);
  broke_rules_ = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
  if (broke_rules_) {
    const std::string call = security::killing_call(pid);
    return "killed by its sandbox: it asked for " +
           (call.empty() ? "what workers may not (the kernel's log may say what)" : call);
  }
  const std::string excess = group_ ? group_->excess() : "";
  group_.reset();
  const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                              : "exit " + std::to_string(WEXITSTATUS(status));
  return excess.empty() ? how : how + ": " + excess;
}

}  // namespace farcall::server
