#include "tools/cli/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "tools/cli/commands.h"

namespace farcall::cli {
namespace {

volatile sig_atomic_t g_pass_to = 0;

void pass_on(int signal) {
  if (g_pass_to != 0) ::kill(g_pass_to, signal);
}

// Runs in the child: never returns.
[[noreturn]] void become(const std::vector<char*>& arguments, const std::string& output) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (!output.empty()) {
    const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file >= 0) {
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
    }
    // A background part must not take the terminal's Ctrl-C: its owner ends it in order.
    ::setpgid(0, 0);
  }
  ::execvp(arguments[0], arguments.data());
  const int why = errno;
  std::fprintf(stderr, "farcall: run %s: %s\n", arguments[0], std::strerror(why));
  ::_exit(why == ENOENT ? kExitNotFound : kExitNotExecutable);
}

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& command, const std::string& output) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return Status::system("start " + command[0]);
  if (pid == 0) become(arguments, output);
  return Child(pid);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_code_(other.exit_code_) {}

Child::~Child() {
  if (pid_ < 0 || !is_running()) return;
  ::kill(pid_, SIGTERM);
  for (int waited_ms = 0; waited_ms < kEndMs && is_running(); waited_ms += 10) {
    ::poll(nullptr, 0, 10);
  }
  if (!is_running()) return;
  ::kill(pid_, SIGKILL);
  (void)wait();
}

void Child::note_end(int wait_status) {
  exit_code_ = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  pid_ = -1;
}

bool Child::is_running() {
  if (pid_ < 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) note_end(status);
  return pid_ >= 0;
}

int Child::wait() {
  if (pid_ < 0) return exit_code_;
  g_pass_to = pid_;
  struct sigaction pass {};
  pass.sa_handler = pass_on;
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before[4];
  ::sigaction(SIGTERM, &pass, &before[0]);
  ::sigaction(SIGHUP, &pass, &before[1]);
  ::sigaction(SIGINT, &ignore, &before[2]);
  ::sigaction(SIGQUIT, &ignore, &before[3]);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  g_pass_to = 0;
  note_end(status);
  ::sigaction(SIGTERM, &before[0], nullptr);
  ::sigaction(SIGHUP, &before[1], nullptr);
  ::sigaction(SIGINT, &before[2], nullptr);
  ::sigaction(SIGQUIT, &before[3], nullptr);
  return exit_code_;
}

}  // namespace farcall::cli
