#include "gpu_server/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <string_view>

#include "transport/base/limits.h"

extern char** environ;

namespace farcall::server {
namespace {

constexpr int kSocketInWorker = 3;
constexpr int kCacheInWorker = 4;

class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // Every other descriptor of ours is close-on-exec. Standard output belongs to nobody here: what
  // a driver prints may be a tenant's.
  int fill(int socket, int cache_folder) {
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    int error = ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    if (!error) error = ::posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    if (!error) error = ::posix_spawn_file_actions_adddup2(&actions_, socket, kSocketInWorker);
    if (!error && cache_folder >= 0) {
      error = ::posix_spawn_file_actions_adddup2(&actions_, cache_folder, kCacheInWorker);
    }
    if (!error) error = ::posix_spawnattr_setsigmask(&attributes_, &none);
    if (!error) error = ::posix_spawnattr_setsigdefault(&attributes_, &all);
    if (!error) {
      error =
          ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    return error;
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
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
  std::vector<std::string> words = {command.worker_path, "--driver", command.driver_path};
  if (!command.rdma_address.empty()) {
    words.insert(words.end(), {"--rdma", command.rdma_address});
  }
  if (!command.peers.empty()) {
    words.insert(words.end(), {"--name", command.name, "--peers", command.peers});
  }
  // Out of the way of the numbers that descriptors get in the worker.
  Fd cache;
  if (command.cache_folder >= 0) {
    cache = Fd(::fcntl(command.cache_folder, F_DUPFD_CLOEXEC, 10));
    if (!cache) return Status::system("pass the module cache on to a worker");
    words.insert(words.end(), {"--module-cache", std::to_string(command.cache_bytes)});
  }
  std::vector<std::string> environment = worker_environment(environ);
  std::vector<char*> argv = pointers(words);
  std::vector<char*> envp = pointers(environment);
  SpawnPlan plan;
  int error = plan.fill(theirs.get(), cache.get());
  pid_t pid = -1;
  if (error == 0) {
    error = ::posix_spawn(&pid, command.worker_path.c_str(), plan.actions(), plan.attributes(),
                          argv.data(), envp.data());
  }
  if (error != 0) return Status::system("start " + command.worker_path, error);
  Fd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pid_fd) {
    Status why = Status::system("watch a worker");
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return why;
  }
  return WorkerProcess(pid, std::move(pid_fd), std::move(ours));
}

WorkerProcess::WorkerProcess(pid_t pid, Fd pid_fd, Fd socket)
    : pid_(pid), pid_fd_(std::move(pid_fd)), socket_(std::move(socket)) {}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pid_fd_(std::move(other.pid_fd_)),
      socket_(std::move(other.socket_)) {}

WorkerProcess::~WorkerProcess() { (void)end(); }

std::string WorkerProcess::end() {
  if (pid_ < 0) return "";
  socket_.reset();  // the worker takes the end of its socket as the end of its service
  pollfd wait{.fd = pid_fd_.get(), .events = POLLIN, .revents = 0};
  int ended;
  do ended = ::poll(&wait, 1, limits::kWorkerGraceMs);
  while (ended < 0 && errno == EINTR);
  if (ended <= 0) ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit " + std::to_string(WEXITSTATUS(status));
}

}  // namespace farcall::server
