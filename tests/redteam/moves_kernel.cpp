// Moves after the kernel: its rarer calls, and the machine's own settings.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "tests/redteam/moves.h"

namespace farcall::redteam {
namespace {

template <class... T>
int call(long number, T... arguments) {
  return outcome(::syscall(number, arguments...));
}

// A call that is refused for its arguments has been let in.
template <class... T>
int reach(long number, T... arguments) {
  const int error = call(number, arguments...);
  return error == EINVAL || error == EFAULT || error == E2BIG || error == ENOEXEC ? 0 : error;
}

int performance_event() {
  perf_event_attr event{};
  event.size = sizeof event;
  event.type = PERF_TYPE_SOFTWARE;
  event.config = PERF_COUNT_SW_CPU_CLOCK;
  return call(SYS_perf_event_open, &event, 0, -1, -1, 0UL);
}

int all_capabilities() {
  __user_cap_header_struct head{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  sets[0].effective = sets[0].permitted = 1U << CAP_SYS_CHROOT;
  return call(SYS_capset, &head, sets);
}

// Numbers mean other calls there: 20 is getpid by the 32-bit door.
int old_door() {
  long answer = 20;
  asm volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
  return answer > 0 ? 0 : static_cast<int>(-answer);
}

int set_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return call(SYS_clock_settime, CLOCK_REALTIME, &now);
}

int adjust_clock() {
  timex change{};
  (void)::adjtimex(&change);
  change.modes = ADJ_TICK;  // what it is
  return call(SYS_adjtimex, &change);
}

int shared_memory() {
  const int memory = ::shmget(IPC_PRIVATE, 4096, 0600);
  if (memory >= 0) ::shmctl(memory, IPC_RMID, nullptr);
  return outcome(memory);
}

int semaphore() {
  const int set = ::semget(IPC_PRIVATE, 1, 0600);
  if (set >= 0) ::semctl(set, 0, IPC_RMID);
  return outcome(set);
}

// As it is called already.
int name_host() {
  utsname machine{};
  (void)::uname(&machine);
  return call(SYS_sethostname, machine.nodename, std::strlen(machine.nodename));
}

constexpr Move kMoves[] = {
    {"make a user namespace", [] { return reach(SYS_unshare, CLONE_NEWUSER); }},
    {"make a mount namespace", [] { return call(SYS_unshare, CLONE_NEWNS); }},
    {"join another namespace",
     [] {
       const int there = ::open("/proc/1/ns/net", O_RDONLY);
       return there < 0 ? outcome(there) : call(SYS_setns, there, 0);
     }},
    {"take capabilities", all_capabilities},
    {"load a kernel module", [] { return reach(SYS_init_module, nullptr, 0UL, ""); }},
    {"load another kernel", [] { return reach(SYS_kexec_load, 0UL, 0UL, nullptr, 0UL); }},
    {"load a BPF program", [] { return reach(SYS_bpf, 0, nullptr, 0U); }},
    {"watch the machine by perf_event_open", performance_event},
    {"set up io_uring", [] { return reach(SYS_io_uring_setup, 1U, nullptr); }},
    {"handle page faults", [] { return call(SYS_userfaultfd, O_CLOEXEC); }},
    {"read keys of the kernel's keyring", [] { return call(SYS_keyctl, 0, -3, 1); }},
    {"add a key to it", [] { return call(SYS_add_key, "user", "farcall-redteam", "x", 1UL, -1); }},
    {"make System V shared memory", shared_memory},
    {"make a System V queue", [] { return outcome(::msgget(IPC_PRIVATE, 0600)); }},
    {"make a System V semaphore", semaphore},
    {"make a POSIX queue",
     [] { return call(SYS_mq_open, "farcall-redteam", O_CREAT | O_RDWR, 0600, nullptr); }},
    {"set the clock", set_clock},
    {"adjust the clock", adjust_clock},
    {"name the host", name_host},
    {"restart the machine", [] { return reach(SYS_reboot, 0, 0, 0, nullptr); }},
    {"add swap", [] { return reach(SYS_swapon, nullptr, 0); }},
    {"reach ports of devices", [] { return call(SYS_iopl, 3); }},
    {"read the kernel's log by syslog",
     [] {
       char line[16];
       return call(SYS_syslog, 3, line, sizeof line);
     }},
    {"be another kind of process", [] { return call(SYS_personality, 0x0040000); }},
    {"count the machine's processes", [] { return reach(SYS_acct, nullptr); }},
    {"compare its memory with the supervisor's",
     [] { return call(SYS_kcmp, ::getpid(), supervisor(), 0, 0UL, 0UL); }},
    {"wear a filter of its own", [] { return reach(SYS_seccomp, 1U, 0U, nullptr); }},
    {"call the kernel by its 32-bit door", old_door},
    {"call the kernel by the x32 door", [] { return call(0x40000000 + SYS_getpid); }},
};

}  // namespace

std::span<const Move> kernel_moves() { return kMoves; }

}  // namespace farcall::redteam
