// Moves after other processes, other users, the network, and more of the machine than is due.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tests/redteam/moves.h"

namespace farcall::redteam {
namespace {

int connect_to(const char* address, int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (socket < 0) return outcome(socket);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  (void)::inet_pton(AF_INET, address, &to.sin_addr);
  const int done = ::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to);
  return done != 0 && errno == EINPROGRESS ? 0 : outcome(done);
}

int listen_on_loopback() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  if (socket < 0) return outcome(socket);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return outcome(-1);
  return outcome(::listen(socket, 1));
}

// A listening socket of the test's, known to whoever shares the network namespace.
int abstract_socket() {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (socket < 0) return outcome(socket);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const std::size_t length = std::min(std::strlen(target("ABSTRACT")), sizeof to.sun_path - 1);
  std::memcpy(to.sun_path + 1, target("ABSTRACT"), length);
  return outcome(::connect(socket, reinterpret_cast<sockaddr*>(&to),
                           static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length)));
}

int read_memory() {
  char here = 0;
  iovec local{&here, 1};
  iovec remote{reinterpret_cast<void*>(0x400000), 1};
  const long got = ::process_vm_readv(supervisor(), &local, 1, &remote, 1, 0);
  return got < 0 && errno == EFAULT ? 0 : outcome(got);  // EFAULT: allowed, nothing is there
}

int take_descriptor() {
  const long process = ::syscall(SYS_pidfd_open, supervisor(), 0);
  if (process < 0) return outcome(process);
  return outcome(::syscall(SYS_pidfd_getfd, process, 0, 0));
}

int start_process() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  return outcome(child);
}

// The way around a filter that looks at clone's flags only.
int clone3_process() {
  struct {
    std::uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } arguments{};
  arguments.exit_signal = SIGCHLD;
  const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child == 0) ::_exit(0);
  return outcome(child);
}

int fork_bomb() {
  int last = EIO;
  for (int i = 0; i < 64; ++i) {
    last = start_process();
    if (last != 0) return last;
  }
  return last;
}

int run_program(const char* path) {
  char* words[] = {const_cast<char*>(path), const_cast<char*>("-c"), const_cast<char*>("exit 0"),
                   nullptr};
  const pid_t child = ::vfork();
  if (child < 0) return outcome(child);
  if (child == 0) {
    ::execv(path, words);
    ::_exit(127);
  }
  int status = 0;
  (void)::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? 0 : EACCES;
}

int run_memory() {
  const int file = static_cast<int>(::syscall(SYS_memfd_create, "program", 0));
  if (file < 0) return outcome(file);
  constexpr char kScript[] = "#!/bin/sh\nexit 0\n";
  (void)!::write(file, kScript, sizeof kScript - 1);
  char* words[] = {const_cast<char*>("program"), nullptr};
  return outcome(::syscall(SYS_execveat, file, "", words, nullptr, AT_EMPTY_PATH));
}

int executable_memory() {
  void* at =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? outcome(-1) : 0;
}

int make_executable() {
  void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return EIO;
  return outcome(::mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

int more_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return outcome(-1);
  limit.rlim_cur = limit.rlim_max;  // even what the limit itself would allow
  return outcome(::setrlimit(RLIMIT_NOFILE, &limit));
}

int core_dumps() {
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) return outcome(-1);
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  return outcome(::setrlimit(RLIMIT_CORE, &all));
}

int signal_by_socket() {
  int ends[2];
  if (::pipe(ends) != 0) return outcome(-1);
  return outcome(::fcntl(ends[0], F_SETOWN, supervisor()));
}

int real_time() {
  sched_param urgent{};
  urgent.sched_priority = 1;
  return outcome(::sched_setscheduler(0, SCHED_FIFO, &urgent));
}

constexpr Move kMoves[] = {
    {"trace the supervisor",
     [] { return outcome(::ptrace(PTRACE_SEIZE, supervisor(), nullptr, nullptr)); }},
    {"be traced", [] { return outcome(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }},
    {"read the supervisor's memory by process_vm_readv", read_memory},
    {"take a descriptor from the supervisor", take_descriptor},
    {"signal the supervisor", [] { return outcome(::kill(supervisor(), 0)); }},
    {"signal everybody", [] { return outcome(::kill(-1, 0)); }},
    {"signal the supervisor's thread",
     [] { return outcome(::syscall(SYS_tgkill, supervisor(), supervisor(), 0)); }},
    {"have the supervisor signalled by a descriptor", signal_by_socket},
    {"connect to the supervisor's port",
     [] { return connect_to("127.0.0.1", std::atoi(target("PORT"))); }},
    {"connect to another port of loopback",
     [] { return connect_to("127.0.0.1", std::atoi(target("OTHER_PORT"))); }},
    {"connect to the cloud's metadata", [] { return connect_to("169.254.169.254", 80); }},
    {"listen on loopback", listen_on_loopback},
    {"open a raw socket", [] { return outcome(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }},
    {"open a packet socket", [] { return outcome(::socket(AF_PACKET, SOCK_RAW, 0)); }},
    {"open a netlink socket",
     [] { return outcome(::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)); }},
    {"connect to an abstract socket", abstract_socket},
    {"send UDP", [] { return outcome(::socket(AF_INET, SOCK_DGRAM, 0)); }},
    {"run a shell", [] { return run_program("/bin/sh"); }},
    {"become a shell",
     [] {
       char* words[] = {const_cast<char*>("sh"), nullptr};
       return outcome(::execve("/bin/sh", words, nullptr));
     }},
    {"run a program from memory", run_memory},
    {"map memory to write and execute", executable_memory},
    {"make written memory executable", make_executable},
    {"start a process", start_process},
    {"start a process by clone3", clone3_process},
    {"start processes without end", fork_bomb},
    {"become root", [] { return outcome(::syscall(SYS_setuid, 0)); }},
    {"become somebody else", [] { return outcome(::syscall(SYS_setresuid, 1000, 1000, 1000)); }},
    {"join a group", [] { return outcome(::syscall(SYS_setgid, 0)); }},
    {"take more descriptors", more_descriptors},
    {"allow core dumps", core_dumps},
    {"outlive the supervisor", [] { return outcome(::prctl(PR_SET_PDEATHSIG, 0)); }},
    {"run before everybody", real_time},
    {"type into a terminal", [] { return outcome(::ioctl(0, TIOCSTI, "x")); }},
};

}  // namespace

std::span<const Move> process_moves() { return kMoves; }

}  // namespace farcall::redteam
