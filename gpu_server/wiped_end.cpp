#include "gpu_server/wiped_end.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "transport/base/limits_wipe.h"
#include "transport/base/log.h"

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#  if defined(__has_feature)
#    if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#      define FARCALL_CAN_WIPE 1
#    endif
#  else
#    define FARCALL_CAN_WIPE 1
#  endif
#endif

namespace farcall::server {
namespace {

constexpr std::size_t kPagesAtOnce = 16384;  // whose residency is asked for in one call
constexpr std::size_t kTextBytes = 65536;

struct Range {
  std::uintptr_t first;
  std::uintptr_t end;
};

// All that is needed once nothing else may be used; in a mapping of its own, never overwritten,
// with addresses in it and nothing of a tenant.
struct Plan {
  int maps = -1;
  int tasks = -1;                     // none where ids are our own
  std::atomic<bool> is_taken{false};  // by the thread that ends the process
  std::atomic<int> parked{0};
  int never = 0;         // what parked threads wait for
  bool own_ids = false;  // thread ids are not those that /proc lists
  std::atomic<std::size_t> pipes{0};
  int pipe_ends[limits::kWipedPipesMax][2] = {};
  std::size_t count = 0;
  unsigned char resident[kPagesAtOnce];
  char text[kTextBytes];
  Range ranges[limits::kWipedRangesMax];
};

Plan* g_plan = nullptr;

#ifdef FARCALL_CAN_WIPE

constexpr std::size_t kPage = 4096;
constexpr pid_t kFirstIds = 4096;  // tried where the highest is not to be had

int park_signal() { return SIGRTMAX - 1; }

// A system call without the C library: its thread-local errno may be gone.
inline long raw(long number, long a, long b = 0, long c = 0, long d = 0) {
  long result;
  register long fourth asm("r10") = d;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
               : "rcx", "r11", "memory");
  return result;
}

// Where the other threads stay until the process ends. Uses no stack once it is there.
void park(int) {
  g_plan->parked.fetch_add(1);
  raw(SYS_futex, reinterpret_cast<long>(&g_plan->parked), FUTEX_WAKE_PRIVATE, 1);
  for (;;) raw(SYS_futex, reinterpret_cast<long>(&g_plan->never), FUTEX_WAIT_PRIVATE, 0);
}

bool call_one(pid_t id, pid_t self) {
  return id > 0 && id != self && ::syscall(SYS_tgkill, ::getpid(), id, park_signal()) == 0;
}

// In a process namespace of its own: ids count up from 1, and a new thread has the highest.
int call_in_by_number(pid_t self) {
  std::atomic<pid_t> highest{kFirstIds};
  pthread_t probe;
  const auto tell = [](void* to) -> void* {
    static_cast<std::atomic<pid_t>*>(to)->store(static_cast<pid_t>(::syscall(SYS_gettid)));
    return nullptr;
  };
  if (::pthread_create(&probe, nullptr, tell, &highest) == 0) ::pthread_join(probe, nullptr);
  int asked = 0;
  for (pid_t id = 1; id <= highest; ++id) asked += call_one(id, self) ? 1 : 0;
  return asked;
}

// By the list of /proc, whose numbers are the host's.
int call_in_by_list(Plan& plan, pid_t self) {
  struct Entry {  // linux_dirent64
    std::uint64_t inode;
    std::int64_t next;
    std::uint16_t bytes;
    std::uint8_t type;
    char name[];
  };
  int asked = 0;
  ::lseek(plan.tasks, 0, SEEK_SET);
  for (;;) {
    const long size = ::syscall(SYS_getdents64, plan.tasks, plan.text, kTextBytes);
    if (size <= 0) return asked;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const Entry*>(plan.text + at);
      at += entry->bytes;
      asked += call_one(static_cast<pid_t>(std::strtol(entry->name, nullptr, 10)), self) ? 1 : 0;
    }
  }
}

void park_others(Plan& plan) {
  struct sigaction action {};
  action.sa_handler = park;
  ::sigfillset(&action.sa_mask);
  if (::sigaction(park_signal(), &action, nullptr) != 0) return;
  const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
  const int asked = plan.own_ids ? call_in_by_number(self) : call_in_by_list(plan, self);
  const timespec patience{.tv_sec = 0, .tv_nsec = 10'000'000};
  for (int waited_ms = 0; waited_ms < limits::kParkMs;) {
    const int now = plan.parked.load();
    if (now >= asked) return;
    const long woken = raw(SYS_futex, reinterpret_cast<long>(&plan.parked), FUTEX_WAIT_PRIVATE, now,
                           reinterpret_cast<long>(&patience));
    if (woken == -ETIMEDOUT) waited_ms += 10;
  }
}

// "first-end rwxp offset device inode   name"
void note(Plan& plan, char* line) {
  char* at = nullptr;
  const std::uintptr_t first = std::strtoull(line, &at, 16);
  const std::uintptr_t end = std::strtoull(at + 1, &at, 16);
  const bool is_written = at[2] == 'w';
  const bool is_private = at[4] == 'p';
  // What is shared is the plan, ciphertext on its way to the client, and the software GPU's memory.
  if (!is_written || (!is_private && std::strstr(at, "/memfd:device memory") == nullptr)) return;
  if (plan.count < limits::kWipedRangesMax) plan.ranges[plan.count++] = {first, end};
}

bool list_memory(Plan& plan) {
  std::size_t held = 0;
  if (::lseek(plan.maps, 0, SEEK_SET) != 0) return false;
  for (;;) {
    const ssize_t size = ::read(plan.maps, plan.text + held, kTextBytes - 1 - held);
    if (size < 0) return false;
    if (size == 0) return plan.count > 0;
    held += static_cast<std::size_t>(size);
    plan.text[held] = '\0';
    char* line = plan.text;
    for (char* end; (end = std::strchr(line, '\n')) != nullptr; line = end + 1) {
      *end = '\0';
      note(plan, line);
    }
    held = static_cast<std::size_t>(plan.text + held - line);
    std::memmove(plan.text, line, held);
  }
}

inline void clear(std::uintptr_t first, std::uintptr_t end) {
  std::uintptr_t bytes = end - first;
  asm volatile("cld; rep stosb" : "+D"(first), "+c"(bytes) : "a"(0) : "memory");
}

// What is left in it goes to nobody; then its page is filled. Threads that could not be parked may
// still write: nothing here waits for them.
void clear_pipes(Plan& plan) {
  for (std::size_t i = 0; i < plan.pipes; ++i) {
    const auto [reading, writing] = plan.pipe_ends[i];
    for (int end : {reading, writing}) {
      (void)::fcntl(end, F_SETFL, ::fcntl(end, F_GETFL) | O_NONBLOCK);
    }
    while (raw(SYS_read, reading, reinterpret_cast<long>(plan.text), kPage) > 0) {
    }
    clear(reinterpret_cast<std::uintptr_t>(plan.text),
          reinterpret_cast<std::uintptr_t>(plan.text) + kPage);
    raw(SYS_write, writing, reinterpret_cast<long>(plan.text), kPage);
  }
}

// Only pages that are there: to write to others would fill a large reservation.
inline void clear_present(Plan& plan, std::uintptr_t first, std::uintptr_t end) {
  while (first < end) {
    const std::uintptr_t piece =
        end - first < kPagesAtOnce * kPage ? end - first : kPagesAtOnce * kPage;
    const long asked = raw(SYS_mincore, static_cast<long>(first), static_cast<long>(piece),
                           reinterpret_cast<long>(plan.resident));
    for (std::size_t page = 0; page < piece / kPage; ++page) {
      if (asked != 0 || (plan.resident[page] & 1) == 0) continue;
      clear(first + page * kPage, first + (page + 1) * kPage);
    }
    first += piece;
  }
}

// From here on no function of a library, no variable, no thread-local. What is left of the own
// stack goes last, in one piece with the end of the process.
[[noreturn, gnu::noinline]] void wipe_and_end(Plan& plan, int status) {
  std::uintptr_t here = 0;
  asm volatile("mov %%rsp, %0" : "=r"(here));
  here = (here - kPage) / kPage * kPage;  // below it nothing of ours lies
  std::uintptr_t stack_end = here;
  for (std::size_t i = 0; i < plan.count; ++i) {
    const Range range = plan.ranges[i];
    if (here >= range.first && here < range.end) {
      clear_present(plan, range.first, here);
      stack_end = range.end;
    } else {
      clear_present(plan, range.first, range.end);
    }
  }
  static_assert(SYS_exit_group == 231);
  asm volatile("cld; rep stosb; mov %%ebx, %%edi; mov $231, %%eax; syscall"
               :
               : "D"(here), "c"(stack_end - here), "a"(0), "b"(status)
               : "memory");
  __builtin_unreachable();
}

#endif  // FARCALL_CAN_WIPE

}  // namespace

Status prepare_wiped_end() {
  // Shared, so that the kernel joins no other memory to it.
  void* room = ::mmap(nullptr, sizeof(Plan), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return Status::system("reserve room for the wiping at the end");
  Plan* plan = new (room) Plan;
  char number[16] = {};
  plan->own_ids = ::readlink("/proc/self", number, sizeof number - 1) <= 0 ||
                  std::strtol(number, nullptr, 10) != ::getpid();
  plan->maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  // An open folder of the host's /proc is a way to the rest of it: not where there is another.
  if (!plan->own_ids) plan->tasks = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (plan->maps < 0 || (plan->tasks < 0 && !plan->own_ids)) {
    Status why = Status::system("open /proc/self for the wiping at the end");
    ::munmap(room, sizeof(Plan));
    return why;
  }
  g_plan = plan;
  return ok();
}

Status overwrite_pipe_at_end(Fd reading, Fd writing) {
  if (g_plan == nullptr) return ok();
  if (g_plan->pipes == limits::kWipedPipesMax) {
    return {Code::kOverQuota, "more pipes than can be overwritten at the end"};
  }
  g_plan->pipe_ends[g_plan->pipes][0] = reading.release();
  g_plan->pipe_ends[g_plan->pipes][1] = writing.release();
  ++g_plan->pipes;
  return ok();
}

void end_wiped(int status) {
#ifdef FARCALL_CAN_WIPE
  if (g_plan != nullptr) {
    while (g_plan->is_taken.exchange(true)) ::poll(nullptr, 0, -1);  // the first one parks it
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    park_others(*g_plan);
    clear_pipes(*g_plan);
    // Threads that stand still may hold the locks of malloc and of the log.
    if (list_memory(*g_plan)) wipe_and_end(*g_plan, status);
    constexpr char kWhy[] = "farcall-worker: cannot list its memory: it ends unwiped\n";
    (void)!::write(STDERR_FILENO, kWhy, sizeof kWhy - 1);
  } else {
    FARCALL_LOG_WARN("the worker ends unwiped: it could not prepare for it");
  }
#endif
  ::_exit(status);
}

}  // namespace farcall::server
