#include "client_shim/faults.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cerrno>

#include "transport/base/guarded.h"

namespace farcall::shim {
namespace {

std::atomic<Resolve> g_resolve{nullptr};
static_assert(std::atomic<Resolve>::is_always_lock_free, "read in a signal handler");

// What was there before us. Written in full before ours is in place, and never over what a handler
// may be reading: each installation has its own, and they are few.
struct Earlier {
  struct sigaction action {};
  const Earlier* before = nullptr;  // never read again; it shows that nothing is lost
};
std::atomic<const Earlier*> g_earlier{nullptr};

bool is_write(const void* context) {
#if defined(__x86_64__)
  constexpr greg_t kWrite = 2;  // of the page fault's error code
  return (static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & kWrite) != 0;
#else
  static_cast<void>(context);
  return true;
#endif
}

// The kernel does what it does without a handler, when the touch is repeated.
void end_by_default(int number) {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  ::sigaction(number, &plain, nullptr);
}

void pass_on(int number, siginfo_t* info, void* context) {
  const Earlier* earlier = g_earlier.load(std::memory_order_acquire);
  if (earlier != nullptr && (earlier->action.sa_flags & SA_SIGINFO) != 0) {
    earlier->action.sa_sigaction(number, info, context);
  } else if (earlier == nullptr || earlier->action.sa_handler == SIG_DFL ||
             earlier->action.sa_handler == SIG_IGN) {
    end_by_default(number);
  } else {
    earlier->action.sa_handler(number);
  }
}

void on_fault(int number, siginfo_t* info, void* context) {
  const int error = errno;
  Resolve resolve = g_resolve.load(std::memory_order_acquire);
  Fault fault = Fault::kNotOurs;
  if (resolve != nullptr && info->si_code == SEGV_ACCERR) {
    fault = resolve(info->si_addr, is_write(context));
  }
  if (fault == Fault::kLost) {
    ::raise(SIGBUS);
    end_by_default(number);  // its handler has returned: there is nothing to go on with
  }
  if (fault == Fault::kNotOurs) pass_on(number, info, context);
  errno = error;
}

}  // namespace

void catch_faults(Resolve resolve) {
  static Mutex* const installing = new Mutex;
  g_resolve.store(resolve, std::memory_order_release);
  Lock lock(*installing);
  struct sigaction now {};
  if (::sigaction(SIGSEGV, nullptr, &now) != 0) return;
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault) return;
  // Never freed: a handler of another thread may still read the one before.
  g_earlier.store(new Earlier{now, g_earlier.load(std::memory_order_relaxed)},
                  std::memory_order_release);
  struct sigaction ours {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigemptyset(&ours.sa_mask);
  ::sigaction(SIGSEGV, &ours, nullptr);
}

void ignore_faults() { g_resolve.store(nullptr, std::memory_order_release); }

}  // namespace farcall::shim
