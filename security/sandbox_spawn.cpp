#include "security/sandbox_spawn.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace farcall::security {
namespace {

constexpr std::uint64_t kNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                      CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
constexpr std::uint64_t kPidFd = 0x1000;  // CLONE_PIDFD
// Numbers that descriptors get in the child are below; what it copies them from is not.
constexpr int kFirstOutOfTheWay = 10;
constexpr std::size_t kDescriptorsMax = 8;

// Source: include/uapi/linux/sched.h, struct clone_args, its first version.
struct CloneArguments {
  std::uint64_t flags, pid_fd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

enum class Step : int { kDescriptors, kRights, kExecute };

struct Failure {
  Step step;
  int error;
};

// All a child needs, made before it is.
struct Birth {
  const char* path = nullptr;
  int program = -1;  // to execute in its place
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  std::array<SpawnOrder::Descriptor, kDescriptorsMax> descriptors{};
  std::size_t descriptor_count = 0;
  int channel = -1;  // a byte comes when we may go on; a Failure goes
  // The channel, the program and what `descriptors` are copied from, in order.
  std::array<int, kDescriptorsMax + 2> kept{};
  std::size_t kept_count = 0;
  bool raise_rights = false;
};

[[noreturn]] void give_up(const Birth& birth, Step step) {
  const Failure failure{step, errno};
  (void)!::write(birth.channel, &failure, sizeof failure);
  ::_exit(127);
}

bool place_descriptors(const Birth& birth) {
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int out = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (in < 0 || out < 0 || ::dup2(in, 0) < 0 || ::dup2(out, 1) < 0) return false;
  for (std::size_t i = 0; i < birth.descriptor_count; ++i) {
    if (::dup2(birth.descriptors[i].here, birth.descriptors[i].there) < 0) return false;
  }
  return true;
}

// Executing a program drops rights that are not "ambient", unless it runs as its namespace's root.
bool keep_rights() {
  __user_cap_header_struct head{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (::syscall(SYS_capget, &head, sets) != 0) return false;
  for (auto& set : sets) set.inheritable = set.permitted;
  if (::syscall(SYS_capset, &head, sets) != 0) return false;
  for (unsigned long cap = 0; cap < 64; ++cap) {
    if ((sets[cap / 32].permitted >> (cap % 32) & 1) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0) return false;
  }
  return true;
}

// Everything from 3 on but what is ours. A parent that dies now takes its end of the channel along,
// so the read of it ends; held open here, or by a sibling that is being born, it would never.
void close_others(const Birth& birth) {
  unsigned from = 3;
  for (std::size_t i = 0; i < birth.kept_count; ++i) {
    const auto kept = static_cast<unsigned>(birth.kept[i]);
    if (kept > from) (void)::close_range(from, kept - 1, 0);
    from = kept + 1;
  }
  (void)::close_range(from, ~0U, 0);
}

// In the child: a copy of a process with threads, so system calls and nothing else.
[[noreturn]] void be_born(const Birth& birth) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  close_others(birth);
  char go = 0;
  if (::read(birth.channel, &go, 1) != 1) ::_exit(127);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < _NSIG; ++number) (void)::sigaction(number, &standard, nullptr);
  if (!place_descriptors(birth)) give_up(birth, Step::kDescriptors);
  if (birth.raise_rights && !keep_rights()) give_up(birth, Step::kRights);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (birth.program >= 0) {
    ::execveat(birth.program, "", birth.argv, birth.envp, AT_EMPTY_PATH);
  } else {
    ::execve(birth.path, birth.argv, birth.envp);
  }
  give_up(birth, Step::kExecute);
}

Status write_file(const std::string& path, const std::string& text) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) < 0) {
    return Status::system("write " + path);
  }
  return ok();
}

// The namespace's root is `uid` outside, and there is nobody else in it.
Status map_user(pid_t pid, std::uint32_t uid, std::uint32_t gid) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/";
  auto line = [](std::uint32_t id) { return "0 " + std::to_string(id) + " 1\n"; };
  // Who is not root may map a group only where groups cannot be dropped.
  if (::geteuid() != 0) FARCALL_TRY(write_file(folder + "setgroups", "deny"));
  FARCALL_TRY(write_file(folder + "gid_map", line(gid)));
  return write_file(folder + "uid_map", line(uid));
}

Status map_users(pid_t pid, std::uint32_t uid) {
  if (uid != 0 && ::geteuid() == 0 && map_user(pid, uid, uid).ok()) return ok();
  Status mapped = map_user(pid, ::geteuid(), ::getegid());
  if (mapped.ok()) return mapped;
  return Status(Code::kUnsupported, "no user namespace: " + mapped.text());
}

// Its user namespace has no say over locked memory; who starts it may have.
void let_it_lock_memory(pid_t pid) {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  (void)::prlimit(pid, RLIMIT_MEMLOCK, &all, nullptr);
}

Result<SpawnedProcess> clone_child(const Birth& birth, bool own_namespaces) {
  int pid_fd = -1;
  CloneArguments arguments{};
  arguments.flags = kPidFd | (own_namespaces ? kNamespaces : 0);
  arguments.pid_fd = reinterpret_cast<std::uint64_t>(&pid_fd);
  arguments.exit_signal = SIGCHLD;
  // No handler of ours may run in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) be_born(birth);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid > 0) return SpawnedProcess{static_cast<pid_t>(pid), Fd(pid_fd)};
  if (own_namespaces) {
    return Status(Code::kUnsupported, "no namespaces: " + Status::system("clone3", error).text());
  }
  return Status::system("make a process", error);
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> all;
  for (const std::string& word : words) all.push_back(const_cast<char*>(word.c_str()));
  all.push_back(nullptr);
  return all;
}

// Returns when the program runs, which closes the child's end.
Status let_go_on(int channel, const std::string& path) {
  Failure failure{};
  if (::send(channel, "", 1, MSG_NOSIGNAL) != 1) return Status::system("start " + path);
  ssize_t got;
  do got = ::read(channel, &failure, sizeof failure);
  while (got < 0 && errno == EINTR);
  if (got == 0) return ok();
  if (got == sizeof failure && failure.step == Step::kRights) {
    return Status(Code::kUnsupported,
                  "no rights in a user namespace: " + Status::system("", failure.error).text());
  }
  return Status::system("start " + path, got == sizeof failure ? failure.error : EIO);
}

}  // namespace

Result<SpawnedProcess> spawn_isolated(const SpawnOrder& order) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return Status::system("make a socket pair");
  }
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  std::vector<Fd> moved;
  auto out_of_the_way = [&moved](int descriptor) {
    moved.emplace_back(::fcntl(descriptor, F_DUPFD_CLOEXEC, kFirstOutOfTheWay));
    return moved.back().get();
  };
  std::vector<char*> argv = pointers(order.words);
  std::vector<char*> envp = pointers(order.environment);
  Birth birth;
  birth.path = order.path.c_str();
  birth.argv = argv.data();
  birth.envp = envp.data();
  birth.raise_rights = order.own_namespaces;
  birth.channel = out_of_the_way(theirs.get());
  theirs.reset();
  if (order.program >= 0) birth.program = out_of_the_way(order.program);
  for (const SpawnOrder::Descriptor& each : order.descriptors) {
    if (birth.descriptor_count == kDescriptorsMax) break;
    birth.descriptors[birth.descriptor_count++] = {out_of_the_way(each.here), each.there};
  }
  for (const Fd& each : moved) {
    if (!each) return Status::system("pass descriptors on to " + order.path);
    birth.kept[birth.kept_count++] = each.get();
  }
  std::sort(birth.kept.begin(), birth.kept.begin() + birth.kept_count);
  Result<SpawnedProcess> child = clone_child(birth, order.own_namespaces);
  if (!child.ok()) return child;
  moved.clear();
  Status done = order.own_namespaces ? map_users(child->pid, order.uid) : ok();
  if (done.ok() && !order.group.empty()) {
    done = write_file(order.group + "/cgroup.procs", std::to_string(child->pid));
  }
  if (done.ok()) {
    let_it_lock_memory(child->pid);
    done = let_go_on(ours.get(), order.path);
  }
  if (done.ok()) return child;
  ::kill(child->pid, SIGKILL);
  while (::waitpid(child->pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return done;
}

}  // namespace farcall::security
